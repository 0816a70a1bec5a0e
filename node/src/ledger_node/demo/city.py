"""The city of the demo: its departments, their keys and datasets. Names only, nothing is run here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

NAME: Final = "jiangcheng.demo"
AUTHORITY: Final = "sj"


def key_roles(member: str, label: str) -> tuple[str, ...]:
    """Roles of a member's key; the sharing authority's office also speaks as the authority."""
    roles = KEYS[label]
    return tuple(sorted((*roles, "authority"))) if member == AUTHORITY and label == "office" else roles


@dataclass(frozen=True, slots=True)
class Department:
    """A department: member id, titles, and what its datasets are called (id, zh, en, personal data or not)."""

    id: str
    zh: str
    en: str
    roles: tuple[str, ...]
    datasets: tuple[tuple[str, str, str], ...]


# Key labels of every department and the roles they count as.
KEYS: Final = {
    "system": ("system",),
    "office": ("office-head",),
    "head": ("dept-head",),
    "verifier": ("verifier",),
}

DEPARTMENTS: Final = (
    Department(
        "sj", "数据局", "Data Bureau", ("authority", "department"),
        (
            ("catalogue", "目录总表", "Catalogue index"), ("addresses", "标准地址", "Standard addresses"),
            ("regions", "行政区划", "Administrative regions"), ("codes", "统一代码", "Unified codes"),
            ("licences", "电子证照", "Electronic licences"), ("services", "政务事项", "Public services"),
            ("ratings", "好差评", "Service ratings"), ("hotline", "热线工单", "Hotline tickets"),
            ("credit", "信用信息", "Credit records"), ("projects", "项目审批", "Project approvals"),
            ("land", "土地登记", "Land register"), ("housing", "房屋登记", "Housing register"),
            ("traffic", "交通流量", "Traffic flow"), ("weather", "气象数据", "Weather data"),
            ("energy", "能源消费", "Energy use"),
        ),
    ),
    Department(
        "ga", "公安局", "Public Security Bureau", ("department",),
        (
            ("hukou", "户籍人口", "Household register"), ("identity", "身份核验", "Identity checks"),
            ("residence", "居住证", "Residence permits"), ("vehicles", "机动车", "Vehicles"),
            ("drivers", "驾驶人", "Driving licences"), ("violations", "交通违法", "Traffic offences"),
            ("hotels", "旅馆登记", "Hotel guests"), ("entry", "出入境", "Border crossings"),
            ("missing", "失踪人员", "Missing persons"), ("addresses", "住址变更", "Changes of address"),
            ("births", "出生登记", "Birth entries"), ("deaths", "死亡注销", "Death entries"),
            ("names", "姓名变更", "Changes of name"), ("groups", "社会组织印章", "Seals of organisations"),
            ("fire", "消防许可", "Fire permits"),
        ),
    ),
    Department(
        "rs", "人社局", "Human Resources and Social Security Bureau", ("department",),
        (
            ("pensions", "养老保险", "Pensions"), ("insured", "参保人员", "Insured persons"),
            ("payments", "待遇发放", "Benefit payments"), ("employers", "用人单位", "Employers"),
            ("contracts", "劳动合同", "Labour contracts"), ("unemployment", "失业登记", "Unemployment"),
            ("skills", "技能证书", "Skill certificates"), ("injury", "工伤认定", "Work injuries"),
            ("talent", "人才引进", "Talent programme"), ("arbitration", "劳动仲裁", "Arbitration"),
            ("training", "职业培训", "Training"), ("subsidies", "就业补贴", "Job subsidies"),
            ("retired", "退休人员", "Retired persons"), ("wages", "工资支付", "Wage payments"),
            ("jobs", "岗位信息", "Vacancies"),
        ),
    ),
    Department(
        "ws", "卫健委", "Health Commission", ("department",),
        (
            ("births", "出生医学证明", "Birth certificates"), ("deaths", "死亡医学证明", "Death certificates"),
            ("vaccines", "预防接种", "Vaccinations"), ("hospitals", "医疗机构", "Hospitals"),
            ("doctors", "执业医师", "Physicians"), ("beds", "床位资源", "Beds"),
            ("records", "健康档案", "Health records"), ("maternity", "妇幼健康", "Maternal health"),
            ("blood", "献血记录", "Blood donation"), ("labs", "检验互认", "Laboratory results"),
            ("chronic", "慢病管理", "Chronic disease"), ("ambulance", "急救调度", "Ambulances"),
            ("notices", "传染病报告", "Notifiable diseases"), ("elderly", "老年健康", "Health of the elderly"),
            ("water", "饮水监测", "Drinking water"),
        ),
    ),
)  # fmt: skip

PURPOSES: Final = ("pension-check", "school-enrolment", "housing-aid", "medical-settlement", "business-licence")
ITEMS: Final = ("name-tag", "id-tag", "status", "date", "amount", "address-code")

# Datasets about identified persons; who asks for them names a legal basis, who supplies them has assessed the impact.
PERSONAL: Final = frozenset(
    f"{owner}/{name}"
    for owner, names in (
        ("sj", "licences credit land housing hotline"),
        (
            "ga",
            "hukou identity residence vehicles drivers violations hotels entry missing addresses births deaths names",
        ),
        (
            "rs",
            "pensions insured payments contracts unemployment skills injury talent arbitration training retired wages",
        ),
        ("ws", "births deaths vaccines doctors records maternity blood labs chronic notices elderly"),
    )
    for name in names.split()
)
PERSONAL_ITEMS: Final = ("name-tag", "id-tag")
