"""How this node reaches others: which addresses it calls, and by which certificates both sides know each other.

Rules: https, or http on this machine; http to another machine only where the operator allows it, for what is signed cannot
be forged on the way, but bodies of events can be read. Files of certificates are named, never copied.
Not here: the questions (see `peers`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import SplitResult, urlsplit

from ledger.core.address import is_host
from ledger.errors import UnavailableError

if TYPE_CHECKING:
    from ssl import SSLContext


@dataclass(frozen=True, slots=True)
class Links:
    """How this node talks to others: `ca` is a file of certificates that are trusted instead of the system's, `certificate`
    and `key` files by which this node shows others' proxies who it is; `plain_http` allows http to other machines."""

    plain_http: bool = False
    ca: str = ""
    certificate: str = ""
    key: str = ""

    def context(self) -> SSLContext:
        """What TLS is spoken with. Raises `UnavailableError` (`peer-tls`) for files that cannot be used."""
        import ssl  # a command that only reads node.toml needs none of it

        try:
            context = ssl.create_default_context(cafile=self.ca or None)
            if self.certificate:
                context.load_cert_chain(self.certificate, self.key or None)
        except (OSError, ValueError) as error:  # ssl's errors are OSErrors
            raise UnavailableError(
                "peer-tls",
                "a certificate or key cannot be used",
                reason=str(error),
                ca=self.ca,
                certificate=self.certificate,
            ) from error
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        return context


DEFAULT: Final = Links()
"""The system's authorities, no certificate of this node's own, no plain http."""


def parse_node_url(url: str, *, plain_http: bool = False) -> SplitResult:
    """The parts of a node's address: https, or http on this machine; with `plain_http` http anywhere.

    Raises `UnavailableError` (`peer-url` for another form or a host that no name service knows, `peer-plain` for http to
    another machine).
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise UnavailableError("peer-url", "expected https://host:port", got=url) from None
    plain = parts.scheme in ("http", "https") and parts.path in ("", "/") and not (parts.query or parts.fragment)
    if not plain or not parts.hostname or parts.username is not None or port == 0:
        raise UnavailableError("peer-url", "expected https://host:port", got=url)
    if not is_host(parts.hostname):
        raise UnavailableError("peer-url", "the host is neither a name nor an IP address", got=url)
    if parts.scheme == "http" and not plain_http and not is_loopback(parts.hostname):
        raise UnavailableError("peer-plain", "plain http to another machine", got=url)
    return parts


def is_loopback(host: str) -> bool:
    """True for addresses that only this machine reaches. Names other than localhost are refused: they may resolve anew."""
    import ipaddress

    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
