"""An authority and its certificates, as files; and what a port shows of them."""

import socket
import ssl
from pathlib import Path

import grpc
import trustme


class TlsFiles:
    """An authority, the gateway's certificate, and those of callers."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._authority = trustme.CA()
        self.ca = folder / "ca.pem"
        self._authority.cert_pem.write_to_path(self.ca)
        self.certificate, self.key = self.issue("127.0.0.1", None)

    def issue(self, identity: str, common_name: str | None) -> tuple[Path, Path]:
        issued = self._authority.issue_cert(identity, common_name=common_name)
        certificate, key = (self._folder / f"{common_name}.{kind}.pem" for kind in ("certificate", "key"))
        issued.private_key_pem.write_to_path(key)
        certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        return certificate, key

    def client_credentials(self, common_name: str | None = None) -> grpc.ChannelCredentials:
        if common_name is None:
            return grpc.ssl_channel_credentials(self.ca.read_bytes())
        certificate, key = self.issue("car@example.org", common_name)
        return grpc.ssl_channel_credentials(self.ca.read_bytes(), key.read_bytes(), certificate.read_bytes())


def served_certificate(port: int) -> str:
    """The certificate that a port on 127.0.0.1 shows to a new connection, as the PEM of its leaf."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    with socket.create_connection(("127.0.0.1", port), 30) as plain, context.wrap_socket(plain) as connection:
        shown = connection.getpeercert(binary_form=True)
    assert shown is not None
    return ssl.DER_cert_to_PEM_cert(shown)
