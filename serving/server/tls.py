"""The server's certificate: read when a process starts, and again when it is told to."""

from __future__ import annotations

import ssl

from serving.server.config import ServeConfig
from serving.server.logs import JsonLog


def context(config: ServeConfig) -> ssl.SSLContext | None:
    """TLS 1.2 and later with the configured certificate; None where none is configured.

    Raises: OSError: a file cannot be read, or certificate and key do not belong together (ssl.SSLError).
    """
    if config.tls_cert is None:
        return None
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.load_cert_chain(config.tls_cert, config.tls_key)
    return made


def renew(running: ssl.SSLContext, config: ServeConfig, log: JsonLog) -> None:
    """Take over the files as they are now for new connections; a pair that is no good leaves the one before."""
    try:
        tried = context(config)
        if tried is not None and config.tls_cert is not None:
            running.load_cert_chain(config.tls_cert, config.tls_key)
            log("certificate_read", cert=config.tls_cert)
    except OSError as error:
        log("certificate_refused", cert=config.tls_cert, error=str(error))
