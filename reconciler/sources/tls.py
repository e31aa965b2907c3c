"""How the API server proves itself, and we to it, in the TLS handshake."""

import ssl
from pathlib import Path
from tempfile import TemporaryDirectory


def tls_context(
    authority: bytes, certificate: bytes = b"", key: bytes = b"", *, insecure: bool = False
) -> ssl.SSLContext:
    """As strict as client-go, which Python from 3.13 on is stricter than, and older ones are in part."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # Of what is listed every certificate is trusted, not only one that signed itself.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif authority:
        context.load_verify_locations(cadata=authority.decode(errors="replace"))
    else:
        context.load_default_certs()
    if certificate:
        # Python reads a certificate from files only.
        with TemporaryDirectory(prefix="reconciler-") as folder:
            files = Path(folder, "certificate"), Path(folder, "key")
            for file, content in zip(files, (certificate, key), strict=True):
                file.write_bytes(content)
            context.load_cert_chain(*files)
    return context
