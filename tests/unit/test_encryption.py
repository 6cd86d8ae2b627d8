"""Nobody can pretend to be a database: TLS is verified but on this machine, and no option of a URL turns that off."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
import trustme

from reconciler.config import WrongError, encryption
from reconciler.crm import engines
from reconciler.errors import ConfigError
from reconciler.store import database

ELSEWHERE = [
    "postgresql://crm:s3cret@db.acme.example/crm?sslmode={}",
    "postgresql://crm:s3cret@/crm?host=db.acme.example&sslmode={}",
    "postgresql://crm:s3cret@127.0.0.1/crm?hostaddr=192.0.2.7&sslmode={}",
    "postgresql://crm:s3cret@/crm?host=127.0.0.1:5432&host=db.acme.example:5432&sslmode={}",
    "postgresql://crm:s3cret@127.0.0.1,db.acme.example/crm?sslmode={}",
    "postgresql://crm:s3cret@127.evil.example/crm?sslmode={}",
    "postgresql://crm:s3cret@/crm?service=crm&sslmode={}",
    "postgresql://crm:s3cret@127.0.0.1/crm?service=crm&sslmode={}",
    "postgresql://crm:s3cret@/crm?sslmode={}",  # PGHOST may name it
]


@pytest.mark.parametrize("spelled", ELSEWHERE)
@pytest.mark.parametrize("mode", ["disable", "allow", "prefer", "require", "verify-ca", ""])
def test_postgresql_elsewhere_is_verified_or_refused(spelled: str, mode: str) -> None:
    if not mode and "sslmode={}" in spelled:
        spelled = spelled.replace("&sslmode={}", "").replace("?sslmode={}", "")
        for url in (engines.parse_url(spelled), database._with_driver(sa.make_url(spelled))):
            assert url.query["sslmode"] == "verify-full"
            assert url.query["sslrootcert"], "the driver by itself would know no authority at all"
        return
    for opened in (engines.parse_url, lambda url: database._with_driver(sa.make_url(url))):
        with pytest.raises(ConfigError, match="less than sslmode=verify-full") as error:
            opened(spelled.format(mode))
        assert "s3cret" not in str(error.value)


def test_an_authority_of_ones_own_may_be_added() -> None:
    spelled = "postgresql://crm@db.acme.example/crm?sslmode=verify-full&sslrootcert=/etc/own.pem"
    assert engines.parse_url(spelled).query == {"sslmode": "verify-full", "sslrootcert": "/etc/own.pem"}
    bare = "postgresql://crm@db.acme.example/crm?sslrootcert=/etc/own.pem"
    assert dict(engines.parse_url(bare).query) == dict(engines.parse_url(spelled).query)


@pytest.mark.parametrize(
    "spelled",
    [
        "postgresql://crm@127.0.0.1/crm",
        "postgresql://crm@localhost:5433/crm",
        "postgresql://crm@[::1]/crm",
        "postgresql://crm@/crm?host=::1",
        "postgresql://crm@/crm?host=[::1]:5432&host=127.0.0.1:5432",
        "postgresql://crm@/crm?host=/run/postgresql",
        "postgresql://crm@127.0.0.1/crm?sslmode=disable",
    ],
)
def test_this_machine_and_sockets_need_no_tls(spelled: str) -> None:
    assert engines.parse_url(spelled).query.get("sslmode") in {None, "disable"}


@pytest.mark.postgres
def test_what_is_this_machine_by_its_url_is_no_other_by_the_environment(
    postgres_database: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The driver would take an address, or the name of a service that has one, from these where a URL has none."""
    url = postgres_database()
    monkeypatch.setenv("PGHOSTADDR", "127.0.0.1")  # where nobody listens: the server has a socket alone
    for engine in (engines.reader(engines.parse_url(url)), database.engine_of(url)):
        with closing(engine.connect()) as connection:
            assert connection.execute(sa.text("SELECT 1")).scalar() == 1
        engine.dispose()


@pytest.mark.parametrize(
    "option",
    ["ssl_disabled=true", "ssl_verify_cert=false", "ssl_verify_identity=0", "ssl_check_hostname=false", "ssl=x"],
)
def test_mysql_elsewhere_takes_nothing_away(option: str) -> None:
    with pytest.raises(ConfigError, match=option.partition("=")[0]):
        engines.parse_url(f"mysql://crm:s3cret@db.acme.example/crm?{option}")
    with pytest.raises(ConfigError, match="ssl"):
        engines.parse_url(f"mysql://crm:s3cret@127.evil.example/crm?{option}")


def test_mysql_elsewhere_is_verified_whatever_certificate_is_shown() -> None:
    context = encryption.mysql("db.acme.example", {"ssl_ca": ssl.get_default_verify_paths().cafile or ""})
    assert context is not None
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    with pytest.raises(WrongError, match="can't be read"):
        encryption.mysql("db.acme.example", {"ssl_cert": "/no/such.pem"})
    assert encryption.mysql("db.acme.example", {"unix_socket": "/run/mysqld.sock"}) is None
    for name in ("read_default_file", "read_default_group"):
        assert encryption.mysql("", {name: "crm"}) is not None


def test_a_mysql_server_is_verified_by_an_authority_of_ones_own_and_shown_a_certificate(tmp_path: Path) -> None:
    authority, shown, key = trustme.CA(), tmp_path / "own.pem", tmp_path / "own.key"
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    own = authority.issue_cert("crm.acme.example")
    own.cert_chain_pems[0].write_to_path(shown)
    own.private_key_pem.write_to_path(key)
    files = f"ssl_ca={tmp_path}/ca.pem&ssl_capath={tmp_path}&ssl_cert={shown}&ssl_key={key}"
    query = engines.parse_url(f"mysql://crm@db.acme.example/crm?{files}").query
    context = encryption.mysql("db.acme.example", query)
    assert context is not None
    assert len(context.get_ca_certs()) == 1, "it is believed, and nobody else"
    assert set(encryption.taken(query)) == set(query)


def test_a_mysql_server_without_tls_hears_no_login(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody in between could take the offer of TLS out of the greeting; what follows would be the login."""
    greeting = b"\x0a8.0.36\0" + b"\x01\0\0\0" + b"12345678\0" + b"\xff\xf7\x21\x02\0\xff\x81\x15" + b"\0" * 10
    greeting += b"123456789012\0mysql_native_password\0"
    heard: list[bytes] = []
    with closing(socket.create_server(("127.0.0.1", 0))) as server:

        def serve() -> None:
            with closing(server.accept()[0]) as line:
                line.settimeout(10)
                line.sendall(len(greeting).to_bytes(3, "little") + b"\0" + greeting)
                heard.append(line.recv(1000))

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        connect = socket.create_connection
        monkeypatch.setattr(socket, "create_connection", lambda *_, **__: connect(server.getsockname()))
        engine = engines.reader(engines.parse_url("mysql://crm:s3cret@db.acme.example/crm"))
        with pytest.raises(sa.exc.OperationalError, match="SSL is required"):
            engine.connect()
        thread.join(10)
    assert heard == [b""]
