"""Draws the pictures of the documents: docs/pictures/<name>.<language>.svg, each in Chinese and English.

`make_pictures.py` writes them, `--check` says which differ (exit code 1) and writes nothing. Plain SVG without fonts,
scripts or links, light and dark; a text that would not fit its box is an error here, not a surprise for the reader.
"""

from __future__ import annotations

import argparse
import sys
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape

FOLDER: Final = Path(__file__).resolve().parent.parent / "docs" / "pictures"
LANGUAGES: Final = ("en", "zh")
Words = tuple[str, str]
"""One text in English and in Chinese."""

STYLE: Final = """
text{font-family:system-ui,'Noto Sans','Noto Sans CJK SC','PingFang SC','Microsoft YaHei',sans-serif;
font-size:13px;fill:#1b2733}
.t{font-weight:600;font-size:14px}.s{fill:#51606e;font-size:12px}.n{font-size:12px;font-weight:600;fill:#fff}
.box{fill:#f6f8fa;stroke:#8a99a8}.good{fill:#e8f4ec;stroke:#3d8b5c}.key{fill:#eef1fb;stroke:#5566b8}
.warn{fill:#fdf0e6;stroke:#c2702c}.dot{fill:#5566b8}.line{stroke:#51606e;fill:none;stroke-width:1.5}.head{fill:#51606e}
.paper{fill:#fff}
@media (prefers-color-scheme:dark){
text{fill:#e4eaf0}.s{fill:#a7b4c0}.box{fill:#1d252d;stroke:#6b7885}.good{fill:#173023;stroke:#5fb583}
.key{fill:#1e2440;stroke:#8f9ee6}.warn{fill:#38240f;stroke:#e09a58}.line{stroke:#a7b4c0}.head{fill:#a7b4c0}.paper{fill:#12181e}}
""".replace("\n", "")


class TooWideError(Exception):
    """A text does not fit where it was put."""


@dataclass
class Picture:
    """One drawing in one language; coordinates in pixels from the upper left."""

    width: int
    height: int
    title: Words
    language: str
    parts: list[str] = field(default_factory=list)

    def say(self, words: Words) -> str:
        """The text in this picture's language."""
        return words[LANGUAGES.index(self.language)]

    def box(self, x: int, y: int, width: int, title: Words, *lines: Words, kind: str = "box", height: int = 0) -> None:
        """A box with a bold title and smaller lines below it, all centred."""
        height = height or 34 + 18 * len(lines)
        self.parts.append(f'<rect class="{kind}" x="{x}" y="{y}" width="{width}" height="{height}" rx="7"/>')
        self.text(x + width // 2, y + 22, title, "t", width - 12)
        for number, line in enumerate(lines):
            self.text(x + width // 2, y + 41 + 18 * number, line, "s", width - 12)

    def text(self, x: int, y: int, words: Words, style: str = "s", room: int = 0, anchor: str = "middle") -> None:
        """One line of text; `room` is the width that it must fit into."""
        text = self.say(words)
        size = 14.5 if style == "t" else 12
        if room and _width(text, size) > room:
            raise TooWideError(f"{self.say(self.title)}: {text!r} needs {_width(text, size):.0f} of {room} pixels")
        self.parts.append(f'<text class="{style}" x="{x}" y="{y}" text-anchor="{anchor}">{escape(text)}</text>')

    def number(self, x: int, y: int, number: int) -> None:
        """A numbered dot."""
        self.parts.append(f'<circle class="dot" cx="{x}" cy="{y}" r="10"/>')
        self.parts.append(f'<text class="n" x="{x}" y="{y + 4}" text-anchor="middle">{number}</text>')

    def arrow(self, *points: tuple[int, int]) -> None:
        """A line through `points` with a head at its end."""
        path = "M" + " L".join(f"{x} {y}" for x, y in points)
        self.parts.append(f'<path class="line" d="{path}" marker-end="url(#head)"/>')

    def svg(self) -> str:
        """The whole file."""
        title = escape(self.say(self.title))
        head = (
            '<marker id="head" markerWidth="9" markerHeight="9" refX="7" refY="4" orient="auto">'
            '<path class="head" d="M0 0 L8 4 L0 8 Z"/></marker>'
        )
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" width="{self.width}" '
            f'height="{self.height}" role="img" aria-labelledby="title" lang="{self.language}">\n'
            f'<title id="title">{title}</title>\n<style>{STYLE}</style>\n<defs>{head}</defs>\n'
            f'<rect class="paper" width="{self.width}" height="{self.height}"/>\n'
            + "\n".join(self.parts)
            + "\n</svg>\n"
        )


def _width(text: str, size: float) -> float:
    """A careful guess at the width of `text`: no font is at hand here."""
    return sum(size * (1.0 if unicodedata.east_asian_width(letter) in "WF" else 0.57) for letter in text)


def life(language: str) -> Picture:
    """The way of an event, there and back."""
    title = ("Life of an event: from the business system to the receipt", "一个事件的一生：从业务系统到回执")
    picture = Picture(920, 330, title, language)
    width, gap, top, bottom = 200, 30, 24, 190
    upper: tuple[tuple[Words, ...], ...] = (
        (
            ("Business system", "业务系统"),
            ("reports what it does", "报告所做之事"),
            ("with data", "只讲行为，不传数据"),
        ),
        (("SDK", "SDK"), ("spool on disk, signs", "先落盘，再签名"), ("sends until certified", "重发直至认证")),
        (
            ("HTTP API of a node", "节点 HTTP 接口"),
            ("shape, size, member,", "核对格式、大小、"),
            ("signature", "成员与签名"),
        ),
        (("Sequencer", "排序节点"), ("puts submissions", "把各部门的提交"), ("into one order", "排成同一次序")),
    )
    lower: tuple[tuple[Words, ...], ...] = (
        (("Receipt", "回执"), ("verdict and proof,", "裁决连同证明，"), ("checked without a node", "离线即可核验")),
        (("Certificate", "法定联署"), ("more than two thirds", "超过三分之二联署"), ("→ certified", "→ 已认证")),
        (
            ("Followers", "跟随节点"),
            ("execute every block", "逐块重新执行，"),
            ("again, then cosign", "结果一致才联署"),
        ),
        (
            ("Rules decide", "规则裁决"),
            ("stored in one transaction", "一个事务落盘入库"),
            ("→ committed", "→ 已提交"),
        ),
    )
    for place, texts in enumerate(upper):
        picture.box(20 + place * (width + gap), top, width, *texts, kind="box" if place else "key")
    for place, texts in enumerate(lower):
        picture.box(20 + place * (width + gap), bottom, width, *texts, kind="box" if place in (2, 3) else "good")
    for place in range(3):
        picture.arrow((220 + place * 230, top + 35), (248 + place * 230, top + 35))
        picture.arrow((250 + place * 230, bottom + 35), (222 + place * 230, bottom + 35))
    picture.arrow((810, top + 70), (810, bottom - 2))
    picture.arrow((120, bottom), (120, 130), (350, 130), (350, top + 72))
    refused = ("refused events are recorded too, with the reason", "被拒绝的事件同样入账，并记明理由")
    picture.text(580, 150, refused, "s", 400)
    bad = ("only bad bytes, strangers and repetitions stay outside", "只有格式错误、无权者和重复者不入账")
    picture.text(460, 300, bad, "s", 800)
    for number, (x, y) in enumerate(((20, top), (250, top), (480, top), (710, top)), start=1):
        picture.number(x, y, number)
    for number, (x, y) in enumerate(((710, bottom), (480, bottom), (250, bottom), (20, bottom)), start=5):
        picture.number(x, y, number)
    return picture


def completeness(language: str) -> Picture:
    """How one certificate vouches for the number of records of one stream."""
    title = ("How a completeness proof hangs together", "完整性证明的环环相扣")
    picture = Picture(920, 440, title, language)
    chain: tuple[tuple[Words, Words, str], ...] = (
        (
            ("Certificate", "法定联署"),
            ("signed by more than two thirds of the cosigners", "超过三分之二联署方的签名"),
            "good",
        ),
        (("Checkpoint", "检查点"), ("origin, number of leaves, root hash", "网络标识、叶数、根哈希"), "key"),
        (
            ("Block header", "区块头"),
            ("the last leaf: holds the root of the state map", "最后一叶：载有状态映射的根"),
            "box",
        ),
        (("State map", "状态映射"), ("dataset ga/hukou: 5 records, root r", "数据集 ga/hukou：5 条记录，根 r"), "box"),
        (("Stream", "事件流"), ("the tree over exactly these records", "恰由这些记录构成的树"), "box"),
    )
    top, step = 20, 70
    for number, (name, line, kind) in enumerate(chain):
        picture.box(40, top + number * step, 400, name, line, kind=kind)
        if number:
            picture.arrow((240, top + number * step - 18), (240, top + number * step - 2))
    reasons: tuple[Words, ...] = (
        ("keys come from your trust file, not from the answer", "密钥出自您的信任文件，而非答案本身"),
        ("pins every leaf of the log", "锁定日志的每一片叶"),
        ("inclusion path: index = leaves − 1", "包含路径：序号 = 叶数 − 1"),
        ("map proof: this value, or that there is none", "映射证明：取值如此，或确无此项"),
        ("5 entries are shown: root over them = r ?", "列出 5 条：其根是否等于 r？"),
    )
    for number, reason in enumerate(reasons):
        picture.text(462, top + 31 + number * step, reason, "s", 440, "start")
    for number in range(5):
        x = 40 + number * 82
        picture.arrow((240, top + 4 * step + 52), (x + 36, 384))
        record = (f"no. {number + 1}", f"第{number + 1}条")
        picture.box(x, 386, 72, record, kind="warn" if number == 3 else "box", height=34)
    picture.text(
        462, 392, ("leave one out, add, change or move one:", "漏一条、添一条、改一条、换一处："), "s", 440, "start"
    )
    picture.text(462, 412, ("the root is another, and the proof fails", "根即不同，证明不成立"), "t", 440, "start")
    return picture


def trust(language: str) -> Picture:
    """Who can do what, and who notices."""
    title = ("Who trusts whom, and who checks", "谁信任谁，谁来核验")
    picture = Picture(920, 400, title, language)
    picture.box(30, 30, 230, ("Department", "部门"), ("signs its own events", "为自己的事件签名"), kind="key")
    picture.box(
        345,
        30,
        230,
        ("Sequencer", "排序节点"),
        ("trusted for nothing", "无须信任"),
        ("can delay or stop", "能拖延、能停摆"),
    )
    picture.box(
        660,
        30,
        230,
        ("Followers", "跟随节点"),
        ("trusted for nothing alone", "单个无须信任"),
        ("recompute, then cosign", "重新计算，一致才联署"),
    )
    picture.box(
        345,
        170,
        230,
        ("Ledger", "账本"),
        ("log, streams, state", "日志、事件流、状态"),
        ("+ certificates", "＋法定联署"),
        kind="good",
    )
    picture.box(30, 300, 230, ("Department", "部门"), ("keeps its receipt", "自留回执"), kind="key")
    picture.box(
        345,
        300,
        230,
        ("Auditor", "审计人员"),
        ("recomputes everything,", "全部重新计算，"),
        ("offline", "离线"),
        kind="warn",
    )
    picture.box(
        660,
        300,
        230,
        ("Regulator", "监管人员"),
        ("asks any node,", "询问任一节点，"),
        ("checks the proof", "核验答案所附证明"),
        kind="warn",
    )
    picture.arrow((260, 56), (343, 56))
    picture.text(302, 48, ("submits", "提交"), "s", 84)
    picture.arrow((575, 56), (658, 56))
    picture.text(617, 48, ("blocks", "区块"), "s", 84)
    picture.arrow((460, 100), (460, 168))
    picture.text(470, 138, ("orders", "排序"), "s", 120, "start")
    picture.arrow((775, 100), (775, 205), (577, 205))
    picture.text(785, 150, ("more than 2/3", "超过三分之二"), "s", 130, "start")
    picture.text(785, 168, ("cosign", "联署"), "s", 130, "start")
    picture.arrow((345, 205), (145, 205), (145, 298))
    picture.text(155, 262, ("receipt", "回执"), "s", 160, "start")
    picture.arrow((460, 240), (460, 298))
    picture.text(470, 274, ("export", "导出"), "s", 120, "start")
    picture.arrow((560, 240), (560, 262), (775, 262), (775, 298))
    picture.text(668, 256, ("answer with proof", "带证明的答案"), "s", 200)
    picture.text(460, 392, ("Nobody has to believe a server.", "谁都不必相信服务器。"), "t", 600)
    return picture


STEPS: Final[tuple[tuple[Words, Words, Words, str], ...]] = (
    (
        ("Proposal", "提案"),
        ("one event, its hash", "一个事件及其哈希"),
        ("binds every word", "绑定每一个字"),
        "key",
    ),
    (
        ("Votes", "表决"),
        ("over 2/3 approve,", "逾三分之二赞成，"),
        ("cosigners sign it", "联署方签名"),
        "key",
    ),
    (
        ("Notice", "公示期"),
        ("24 h unless genesis", "24 小时，除非"),
        ("says otherwise", "创世文件另有规定"),
        "box",
    ),
    (
        ("Announced", "公告"),
        ("a timer fires; config", "定时器到期；配置中"),
        ("names the next set", "写明下一届"),
        "box",
    ),
    (
        ("Last block", "末块"),
        ("the timer once more:", "定时器再次到期："),
        ("the epoch ends", "本届结束"),
        "warn",
    ),
)


def vote(language: str) -> Picture:
    """How a change of the cosigners takes effect."""
    picture = Picture(920, 330, ("How a vote takes effect", "表决如何生效"), language)
    for number, (title, first, second, kind) in enumerate(STEPS):
        picture.box(20 + 180 * number, 30, 160, title, first, second, kind=kind)
        if number:
            picture.arrow((180 * number, 65), (18 + 180 * number, 65))
    picture.box(
        380,
        170,
        200,
        ("Epoch 0", "第 0 届"),
        ("signs up to the last block,", "联署至末块，"),
        ("that one included", "含末块"),
        kind="good",
    )
    picture.box(
        700,
        170,
        200,
        ("Epoch 1", "第 1 届"),
        ("signs what comes after it,", "联署其后的区块，"),
        ("nothing before", "此前一概不签"),
        kind="good",
    )
    picture.arrow((820, 100), (820, 135), (480, 135), (480, 168))
    picture.text(650, 128, ("certified by the set that leaves", "由离任联署方出具证书"), "s", 320)
    picture.arrow((580, 205), (698, 205))
    picture.text(639, 197, ("hands over to", "移交"), "s", 112)
    picture.box(
        20,
        170,
        300,
        ("Somebody who pinned the genesis", "只信任创世文件的人"),
        ("is led on from set to set", "由一届引至下一届，"),
        ("by these certificates", "凭的就是这些证书"),
        kind="key",
    )
    picture.arrow((322, 205), (378, 205))
    picture.text(
        460,
        300,
        (
            "Nothing is retroactive: an effect in block H is in force from H + 1.",
            "不溯及既往：在区块 H 生效的变更自 H + 1 起施行。",
        ),
        "t",
        860,
    )
    return picture


PICTURES: Final[dict[str, Callable[[str], Picture]]] = {
    "life-of-an-event": life,
    "completeness": completeness,
    "trust": trust,
    "vote": vote,
}


def main() -> int:
    """Write or check every picture; exit code 1 when `--check` finds one that differs."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 when a picture differs")
    check: bool = parser.parse_args().check
    differing = []
    for name, draw in PICTURES.items():
        for language in LANGUAGES:
            path, svg = FOLDER / f"{name}.{language}.svg", draw(language).svg()
            if not path.exists() or path.read_text(encoding="utf-8") != svg:
                differing.append(path.name)
                if not check:
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_text(svg, encoding="utf-8")
    for file in differing:
        print(f"{'differs' if check else 'written'}: docs/pictures/{file}")
    return 1 if check and differing else 0


if __name__ == "__main__":
    sys.exit(main())
