"""Walks over the lineage graph, and the trees they are printed as."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest
from catalog_samples import DELAYS, edge, full_run, output, run_record

from mlplatform.catalog.answers import LineageHop
from mlplatform.catalog.connect import writing
from mlplatform.catalog.records import LineageEdge, RunRecord
from mlplatform.catalog.store import Catalog, open_catalog
from mlplatform.catalog.tree import tree_lines
from mlplatform.catalog.write import put_run
from mlplatform.errors import CatalogError, UsageError


@pytest.fixture
def catalog() -> Iterator[Catalog]:
    with open_catalog("sqlite://", journal=None) as opened:
        yield opened


def put(catalog: Catalog, *records: RunRecord) -> None:
    with writing(catalog.engine) as connection:
        for record in records:
            put_run(connection, record)


def graph(*edges: str) -> tuple[RunRecord, ...]:
    """Runs, one for each output, from texts such as `s.b x <- s.a y`."""
    parsed = [edge(into, out_of) for into, out_of in (text.split(" <- ") for text in edges)]
    outputs = dict.fromkeys(part.output for part in parsed)
    return tuple(
        run_record(f"01{name}", lineage=tuple(part for part in parsed if part.output == name), outputs=(output(name),))
        for name in outputs
    )


def steps(hops: Sequence[LineageHop]) -> list[tuple[int, str]]:
    return [
        (hop.depth, f"{hop.edge.output} {hop.edge.output_column} <- {hop.edge.input} {hop.edge.input_column}")
        for hop in hops
    ]


CHAIN = ("s.b x <- s.a x", "s.c x <- s.b x", "s.c y <- s.b y", "s.d x <- s.c x")


def test_up(catalog: Catalog) -> None:
    put(catalog, *graph(*CHAIN))
    assert steps(catalog.lineage("s.d", "x")) == [
        (1, "s.d x <- s.c x"),
        (2, "s.c x <- s.b x"),
        (3, "s.b x <- s.a x"),
    ]


def test_down(catalog: Catalog) -> None:
    put(catalog, *graph(*CHAIN))
    assert steps(catalog.lineage("s.b", direction="down")) == [
        (1, "s.c x <- s.b x"),
        (1, "s.c y <- s.b y"),
        (2, "s.d x <- s.c x"),
    ]


def test_both_ways(catalog: Catalog) -> None:
    put(catalog, *graph(*CHAIN))
    hops = catalog.lineage("s.c", "x", direction="both")
    assert [(hop.direction, hop.depth) for hop in hops] == [("up", 1), ("up", 2), ("down", 1)]


@pytest.mark.parametrize("depth", [1, 2, 3, 16, 17, 1000])
def test_depth(catalog: Catalog, depth: int) -> None:
    put(catalog, *graph(*CHAIN))
    assert [hop.depth for hop in catalog.lineage("s.d", "X", depth=depth)] == [1, 2, 3][:depth]


@pytest.mark.parametrize("depth", [None, 2, 3, 30])
def test_a_circle_ends(catalog: Catalog, depth: int | None) -> None:
    put(catalog, *graph("s.a x <- s.c x", "s.b x <- s.a x", "s.c x <- s.b x", "s.a x <- s.a x"))
    found = steps(catalog.lineage("s.a", "x", depth=depth))
    everything = [(1, "s.a x <- s.a x"), (1, "s.a x <- s.c x"), (2, "s.c x <- s.b x"), (3, "s.b x <- s.a x")]
    assert sorted(found) == [step for step in everything if depth is None or step[0] <= depth]


def test_a_diamond_gives_each_edge_once(catalog: Catalog) -> None:
    put(catalog, *graph("s.d x <- s.b x", "s.d x <- s.c x", "s.b x <- s.a x", "s.c x <- s.a x", "s.a x <- s.z x"))
    found = steps(catalog.lineage("s.d"))
    assert [depth for depth, _ in found] == [1, 1, 2, 2, 3]
    assert len(set(found)) == 5


def test_one_pair_may_have_edges_of_several_kinds(catalog: Catalog) -> None:
    kinds = (
        edge("delay", "dep_delay"),
        edge("delay", "dep_delay", kind="INDIRECT", subtype="filter"),
        edge("delay", "dep_delay", subtype="transformation", opaque=True),
    )
    put(catalog, run_record(lineage=(*kinds, kinds[0]), outputs=(output(),)))
    assert [hop.edge for hop in catalog.lineage(DELAYS, "delay")] == list(kinds)


def test_the_latest_producing_run_counts(catalog: Catalog) -> None:
    later = {"started_at": "2026-11-06T10:00:00+00:00", "ended_at": None}
    put(
        catalog,
        run_record("01A", lineage=(edge("delay", "old"),), outputs=(output(version=0),)),
        run_record("01B", lineage=(edge("delay", "new"),), outputs=(output(version=1),), **later),
        run_record("01C", lineage=(edge("delay", "failed"),), outputs=(output(version=None),), state="failed", **later),
        run_record("01D", lineage=(edge("delay", "skipped"),), outputs=(output(version=1, skipped=True),), **later),
    )
    assert [hop.edge.input_column for hop in catalog.lineage(DELAYS)] == ["new"]
    assert steps(catalog.lineage("raw.flights", direction="down")) == [(1, "mined.delays delay <- raw.flights new")]


def test_a_version_is_followed_at_the_versions_that_were_read(catalog: Catalog) -> None:
    flights = "raw.flights"
    put(
        catalog,
        run_record("01A", lineage=(edge(f"{flights} d", "files old.csv d"),), outputs=(output(flights, 0),)),
        run_record("01B", lineage=(edge("delay", "d", input_version=0),), outputs=(output(version=0),)),
        run_record(
            "01C",
            lineage=(edge(f"{flights} d", "files new.csv d"),),
            outputs=(output(flights, 1),),
            ended_at="2026-11-06T00:00:00+00:00",
        ),
        run_record("01D", lineage=(edge("delay", "d", input_version=1),), outputs=(output(version=1),)),
    )
    assert [hop.edge.input for hop in catalog.lineage(DELAYS, version=0)] == [flights, "files old.csv"]
    assert [hop.edge.input for hop in catalog.lineage(DELAYS, version=1)] == [flights, "files new.csv"]
    assert [hop.edge.input for hop in catalog.lineage(DELAYS, version=0, depth=1)] == [flights]
    with pytest.raises(CatalogError) as caught:
        catalog.lineage(DELAYS, version=7)
    assert (caught.value.code, caught.value.notes) == ("E_DATASET_VERSION", ("versions: 1, 0",))
    with pytest.raises(UsageError, match="E_USAGE"):
        catalog.lineage(DELAYS, version=0, direction="down")


def test_exported_files_and_sources_are_ends(catalog: Catalog) -> None:
    put(catalog, full_run(), *graph("raw.flights month <- files data/*.parquet month"))
    assert [hop.depth for hop in catalog.lineage("exports/report.csv")] == [1, 2, 2, 3]
    down = catalog.lineage("files data/*.parquet", direction="down")
    assert [hop.edge.output for hop in down] == ["raw.flights", DELAYS, "exports/report.csv"]


def test_unknown_names(catalog: Catalog) -> None:
    put(catalog, full_run())
    with pytest.raises(CatalogError) as caught:
        catalog.lineage("raw.flihgts")
    assert (caught.value.code, caught.value.hint) == ("E_DATASET_MISSING", 'did you mean "raw.flights"?')
    with pytest.raises(CatalogError) as caught:
        catalog.lineage(DELAYS, "dely")
    assert (caught.value.code, caught.value.hint) == ("E_COLUMN_MISSING", 'did you mean "delay"?')
    with pytest.raises(UsageError, match="E_USAGE"):
        catalog.lineage(DELAYS, depth=0)


def test_a_column_without_edges_is_known_and_has_no_lineage(catalog: Catalog) -> None:
    put(catalog, run_record(outputs=(output(),)))
    assert catalog.lineage(DELAYS, "origin", direction="both") == ()


@pytest.mark.parametrize(
    ("text", "split"),
    [
        ("raw.flights", ("raw.flights", None)),
        ("raw.flights.origin", ("raw.flights", "origin")),
        ("raw.flights.a.b", ("raw.flights", "a.b")),
        ("exports/report.csv", ("exports/report.csv", None)),
        ("exports/report.csv.worst", ("exports/report.csv", "worst")),
    ],
)
def test_names_are_split_at_the_dataset(catalog: Catalog, text: str, split: tuple[str, str | None]) -> None:
    put(catalog, full_run())
    assert catalog.split_name(text) == split


def test_a_text_that_begins_with_no_dataset(catalog: Catalog) -> None:
    put(catalog, full_run())
    with pytest.raises(CatalogError) as caught:
        catalog.split_name("raw.flight.origin")
    assert (caught.value.code, caught.value.hint) == ("E_DATASET_MISSING", 'did you mean "raw.flights"?')


def test_the_tree_of_a_column(catalog: Catalog) -> None:
    put(catalog, full_run(), *graph("raw.flights dep_delay <- files data/*.parquet dep_delay"))
    hops = catalog.lineage("exports/report.csv", "worst")
    assert "\n".join(tree_lines("exports/report.csv", "worst", hops)) == (
        "exports/report.csv [worst] comes from\n"
        "└─ mined.delays.delay  DIRECT aggregation\n"
        "   ├─ raw.flights.dep_delay (version 3)  DIRECT transformation\n"
        "   │  └─ files data/*.parquet [dep_delay]  DIRECT identity\n"
        "   └─ raw.flights.month (version 3)  INDIRECT filter"
    )


def test_the_tree_of_a_dataset(catalog: Catalog) -> None:
    put(catalog, full_run())
    assert "\n".join(tree_lines(DELAYS, None, catalog.lineage(DELAYS, direction="both"))) == (
        "mined.delays comes from\n"
        "└─ raw.flights (version 3)  DIRECT identity ×1, DIRECT transformation ×1, INDIRECT filter ×1\n"
        "mined.delays goes into\n"
        "└─ exports/report.csv  DIRECT aggregation ×1"
    )


def test_a_tree_unfolds_each_place_once(catalog: Catalog) -> None:
    put(catalog, *graph("s.d x <- s.b x", "s.d x <- s.c x", "s.b x <- s.a x", "s.c x <- s.a x", "s.a x <- s.d x"))
    assert "\n".join(tree_lines("s.d", None, catalog.lineage("s.d"))) == (
        "s.d comes from\n"
        "├─ s.b  DIRECT identity ×1\n"
        "│  └─ s.a  DIRECT identity ×1\n"
        "│     └─ s.d  DIRECT identity ×1  (see above)\n"
        "└─ s.c  DIRECT identity ×1\n"
        "   └─ s.a  DIRECT identity ×1  (see above)"
    )


def test_a_long_chain_needs_no_deep_stack(catalog: Catalog) -> None:
    edges = tuple(LineageEdge(f"s.t{n + 1}", "x", f"s.t{n}", "x", "DIRECT", "identity") for n in range(2000))
    put(catalog, run_record(lineage=edges, outputs=tuple(output(f"s.t{n + 1}", columns=()) for n in range(2000))))
    hops = catalog.lineage("s.t2000", "x")
    assert [hop.depth for hop in hops] == list(range(1, 2001))
    assert len(list(tree_lines("s.t2000", "x", hops))) == 2001


def test_opaque_edges_say_so(catalog: Catalog) -> None:
    opaque = replace(edge("delay", "dep_delay"), opaque=True, subtype="transformation")
    put(catalog, run_record(lineage=(opaque,), outputs=(output(),)))
    assert list(tree_lines(DELAYS, "delay", catalog.lineage(DELAYS, "delay"))) == [
        "mined.delays.delay comes from",
        "└─ raw.flights.dep_delay  DIRECT transformation opaque",
    ]
