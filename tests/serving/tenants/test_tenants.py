"""Tokens, tenants, their file and their tables."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlplatform.errors import PlatformError, UsageError
from serving.http.errors import ApiError
from serving.tenants.catalog import TenantCatalog
from serving.tenants.directory import Directory
from serving.tenants.snapshot import MAX_AGE_S, Snapshot, numbered, read_snapshot, write_snapshot
from serving.tenants.tenants import Grant, Tenant, checked
from serving.tenants.tokens import is_same, key_id_of, new_token


def test_a_token_is_long_and_only_its_hash_is_kept() -> None:
    text, record = new_token(0.0)
    assert (key_id_of(text), len(text.rpartition("_")[2]) >= 43 or "_" in text[15:]) == (record.id, True)
    assert text not in repr(record)
    assert is_same(text, record)
    assert not is_same(text[:-1] + ("a" if text[-1] != "a" else "b"), record)


@given(st.text())
def test_no_other_text_has_a_key_id(text: str) -> None:
    assert key_id_of(text) is None or text.startswith("mlp_")


@pytest.mark.parametrize(
    "tenant",
    [
        Tenant("", ()),
        Tenant("A b", ()),
        Tenant("a", (Grant("*", ("nope",)),)),
        Tenant("a", (), rate=0),
        Tenant("a", (), burst=0.5),
        Tenant("a", (), max_in_flight=0),
        Tenant("a", (), priority="high"),  # type: ignore[arg-type]
    ],
)
def test_terms_that_nobody_can_have_are_refused(tenant: Tenant) -> None:
    with pytest.raises(UsageError) as caught:
        checked(tenant)
    assert caught.value.code == "E_TENANT"


def test_what_one_grant_denies_no_other_gives_back() -> None:
    tenant = Tenant("a", (Grant("t.*", ("rows",), ("secret",)), Grant("*", ("scan",))))
    assert tenant.access("t.x") == (frozenset({"rows", "scan"}), frozenset({"secret"}))
    assert tenant.access("u.x") == (frozenset({"scan"}), frozenset())


def test_a_snapshot_reads_as_it_was_written_and_is_the_owners(tmp_path: Path) -> None:
    _, record = new_token(5.0, 9.0)
    snapshot = Snapshot(numbered([Tenant("b", (Grant("*"),), (record,), rate=3.0), Tenant("a", ())], None), 7.0)
    write_snapshot(tmp_path, snapshot)
    assert read_snapshot(tmp_path) == snapshot
    assert (tmp_path / "tenants.json").stat().st_mode & 0o077 == 0
    assert [tenant.slot for tenant in snapshot.tenants] == [1, 2]


def test_a_tenant_keeps_its_slot_when_others_come_and_go() -> None:
    first = Snapshot(numbered([Tenant("b", ()), Tenant("c", ())], None), 0.0)
    later = numbered([Tenant("a", ()), Tenant("c", ())], first)
    assert {tenant.id: tenant.slot for tenant in later} == {"a": 1, "c": 2}


@given(st.one_of(st.binary(max_size=80), st.recursive(
    st.none() | st.integers() | st.text(max_size=5),
    lambda part: st.lists(part, max_size=3) | st.dictionaries(
        st.sampled_from(["format", "written_at_s", "tenants", "id", "grants", "tokens"]), part, max_size=3),
    max_leaves=8).map(lambda document: json.dumps(document).encode())))  # fmt: skip
def test_a_damaged_snapshot_is_an_error_of_ours(text: bytes) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "tenants.json").write_bytes(text)
        try:
            found = read_snapshot(Path(folder))
        except PlatformError as error:
            assert error.code == "E_TENANT"
        else:
            assert isinstance(found, Snapshot)


def test_tokens_expire_are_revoked_and_forget_nothing_else() -> None:
    now_s = [1000.0]
    text, record = new_token(0.0, 1001.0)
    directory = Directory(lambda: now_s[0])
    tenant = Tenant("a", (Grant("*"),), (record,), rate=10.0, burst=5.0)
    directory.load(Snapshot((tenant,), 1000.0), 0.0)
    header = f"Bearer {text}".encode()
    caller = directory.authenticate(header)
    caller.take(4, 0.0)
    directory.load(Snapshot((tenant,), 1000.0), 0.0)
    assert directory.authenticate(header) is caller
    assert not caller.take(2, 0.0)
    now_s[0] = 1001.0
    with pytest.raises(ApiError, match="bad_token"):
        directory.authenticate(header)
    directory.load(Snapshot((Tenant("a", ()), Tenant("b", (), (new_token(0.0)[1],))), 1000.0), 0.0)
    with pytest.raises(ApiError, match="bad_token"):
        directory.authenticate(header)


def test_an_old_snapshot_opens_nothing() -> None:
    _, record = new_token(0.0)
    directory = Directory(lambda: MAX_AGE_S + 2)
    directory.load(Snapshot((Tenant("a", (), (record,)),), 1.0), 0.0)
    with pytest.raises(ApiError, match="not_ready"):
        directory.authenticate(b"")


def test_the_catalog_keeps_tenants_and_tokens(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/catalog.db"
    with TenantCatalog(url, lambda: 1000.0) as catalog:
        catalog.put(Tenant("app", (Grant("t.*", ("rows",), ("secret",)),), rate=5.0))
        text, record = catalog.add_token("app", ttl_s=60)
        assert record.expires_at_s == 1060.0
        catalog.put(Tenant("app", (Grant("u.*"),), priority="batch"))
        catalog.used({record.id: 1005.5, "gone": 1.0})
    with TenantCatalog(url) as catalog:
        found = catalog.tenant("app")
        assert (found.grants, found.rate, found.priority) == ((Grant("u.*"),), None, "batch")
        assert is_same(text, found.tokens[0])
        assert catalog.last_used() == {record.id: 1005.5}
        for wrong in (lambda: catalog.tenant("apo"), lambda: catalog.revoke("none"), lambda: catalog.add_token("x")):
            with pytest.raises(PlatformError) as caught:
                wrong()
            assert caught.value.code == "E_TENANT"
        catalog.remove("app")
        assert (catalog.tenants(), catalog.last_used()) == ([], {})
    assert text.encode() not in (tmp_path / "catalog.db").read_bytes()


def test_revoking_the_last_token_opens_nothing() -> None:
    directory = Directory(lambda: 5.0)
    directory.load(Snapshot((), 5.0), 0.0)
    assert directory.authenticate(b"").tenant.id == "local"
    directory.load(Snapshot((Tenant("a", (Grant("*"),)),), 5.0), 0.0)
    with pytest.raises(ApiError, match="no_token"):
        directory.authenticate(b"")
    exposed = Directory(lambda: 5.0, may_be_open=False)
    for snapshot in (None, Snapshot((), 5.0)):
        exposed.load(snapshot, 0.0)
        with pytest.raises(ApiError, match="no_token"):
            exposed.authenticate(b"")
