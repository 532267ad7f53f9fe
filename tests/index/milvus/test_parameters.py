"""The section `index` of the settings: what is built, how it is searched, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from pagoda.errors import ConfigError
from pagoda.index.milvus.parameters import build_params
from pagoda.settings import CollectionConfig, load_settings


@pytest.mark.parametrize("source", ["file", "variables", "variable"])
def test_what_is_set_is_built_and_the_rest_has_its_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    if source == "file":
        (tmp_path / "pagoda.yaml").write_text("index: {m: 32, effort: 256}")
    elif source == "variables":
        monkeypatch.setenv("PAGODA_INDEX__M", "32")
        monkeypatch.setenv("PAGODA_INDEX__EFFORT", "256")
    else:
        monkeypatch.setenv("PAGODA_INDEX", '{"m": 32, "effort": 256}')
    index = load_settings(tmp_path).index
    assert (index.kind, index.effort, build_params(index)) == ("HNSW", 256, {"M": 32, "efConstruction": 200})


def test_segments_are_what_milvus_calls_m() -> None:
    product = CollectionConfig(kind="IVF_PQ", nlist=64, segments=8)
    assert build_params(product) == {"nlist": 64, "m": 8, "nbits": 8}
    assert build_params(CollectionConfig(kind="IVF_SQ8", nlist=64)) == {"nlist": 64}


@pytest.mark.parametrize(
    ("variable", "value", "complaint"),
    [
        ("PAGODA_INDEX__KIND", "TREE", r"index\.kind: Input should be 'HNSW', .* or 'FLAT' \(got 'TREE'\)"),
        ("PAGODA_INDEX__M", "1", r"index\.m: .* greater than or equal to 2 \(got '1'\)"),
        ("PAGODA_INDEX__MINIMUM_RECALL", "98", r"index\.minimum_recall: .* less than or equal to 1 \(got '98'\)"),
        (
            "PAGODA_INDEX__NLIST",
            "64",
            "index: .*nlist is a parameter of IVF_FLAT and IVF_SQ8 and IVF_PQ, and kind is H",
        ),
        ("PAGODA_INDEX__SEGMENTS", "8", "index: .*segments is a parameter of IVF_PQ, and kind is HNSW"),
        ("PAGODA_INDEX__KIND", "SCANN", r"index\.kind: .*SCANN .*Milvus 2\.3\.5 .*compares every vector"),
        ("PAGODA_INDEX__KIND", "DISKANN", r"index\.kind: .*DISKANN .*take IVF_SQ8 or IVF_PQ"),
        ("PAGODA_INDEX__KIND", "HNSW_SQ8", r"index: .*HNSW_SQ8 is built in process alone, and backend is milvus"),
        ("PAGODA_INDEX__EFORT", "64", r"index\.efort: Extra inputs are not permitted"),
        ("PAGODA_INDEX", "HNSW", 'field "index"'),
    ],
)
def test_a_wrong_value_is_refused_in_one_line_that_names_the_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, complaint: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigError, match=complaint) as refusal:
        load_settings(tmp_path)
    assert "\n" not in str(refusal.value)
