"""Decides how a cosigner set is told to other people's verifiers: a C2SP tlog-policy file, one per epoch.

Rules (c2sp.org/tlog-policy, SPEC R-V10): one `log` line for each log key, one `witness` line for each cosigner, one
group with the quorum's threshold, one `quorum` line. Local names are `cosigner-<n>`: key names stand inside the
verifier keys and need not fit the file's syntax. Any one of the log keys suffices, as in our own certificates.
Not here: reading policies; our verifiers take the set from the certified configuration.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from ledger.core.cosignature import TYPE_COSIGNATURE
from ledger.core.ident import check_origin
from ledger.core.keys import PublicKey
from ledger.core.note import TYPE_ED25519, encode_vkey
from ledger.core.quorum import Cosigner, check_cosigners, threshold
from ledger.errors import MalformedError

GROUP: Final = "more-than-two-thirds"
# Space, tab, newline and control characters would end a field; "#" begins a comment for some readers.
_URL: Final = re.compile(r"[\x21\x22\x24-\x7e]{1,2048}").fullmatch


def encode_policy(
    origin: str, log_keys: Sequence[PublicKey], cosigners: Sequence[Cosigner], urls: Mapping[str, str] | None = None
) -> bytes:
    """The policy file of one cosigner set; `urls` maps cosigner names to addresses and may lack some.

    `MalformedError` for an empty or doubled log key list (code `log-keys`), a bad set (`cosigners`) or address (`url`).
    """
    check_origin(origin)
    check_cosigners(cosigners)
    if not log_keys or len({key.key_id for key in log_keys}) != len(log_keys):
        raise MalformedError("log-keys", "no log key, or one twice", count=len(log_keys))
    lines = [f"log {encode_vkey(origin, TYPE_ED25519, key)}" for key in log_keys]
    names: list[str] = []
    for number, (name, key) in enumerate(cosigners, start=1):
        names.append(f"cosigner-{number}")
        url = (urls or {}).get(name, "")
        if url and not _URL(url):
            raise MalformedError("url", "address does not fit on a policy line", name=name, got=url)
        lines.append(f"witness {names[-1]} {encode_vkey(name, TYPE_COSIGNATURE, key)} {url}".rstrip())
    lines.append(f"group {GROUP} {threshold(len(cosigners))} {' '.join(names)}")
    lines.append(f"quorum {GROUP}")
    return "".join(line + "\n" for line in lines).encode("utf-8")
