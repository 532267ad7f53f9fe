"""Bodies of the user tower: three forms in, the same form out, and errors that name the field."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
import pytest

from pagoda.errors import IntegrityError, NotHeldError, RequestError
from serving.tower.bodies import TowerAnswer, parse, render, render_error

ANSWER = TowerAnswer(np.array([[0.6, 0.8], [1, 0]], np.float32), np.array([True, False]), "g3")


def tensor(name: str, datatype: str, data: list[Any]) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": [len(data)], "data": data}


def test_the_three_forms_ask_the_same() -> None:
    history = [{"item_id": 7, "timestamp": "2023-11-14T22:13:20Z"}]
    one = {"user_id": 5, "timestamp": 1_700_000_000_000_000, "profile": {"age": 30}, "history": history}
    columns = [
        tensor("user_id", "INT64", [5]),
        tensor("timestamp", "INT64", [1_700_000_000_000_000]),
        tensor("profile", "BYTES", ['{"age": 30}']),
        tensor("history", "BYTES", [orjson.dumps(history).decode()]),
    ]
    plain = parse(orjson.dumps({**one, "generation": "g3"}))
    v1 = parse(orjson.dumps({"instances": [one], "generation": "g3"}))
    v2 = parse(orjson.dumps({"id": "a", "inputs": columns, "parameters": {"generation": "g3"}}))
    assert [body.form for body in (plain, v1, v2)] == ["plain", "v1", "v2"]
    assert list(plain.request.instances) == list(v1.request.instances) == list(v2.request.instances)
    assert {body.request.generation for body in (plain, v1, v2)} == {"g3"}
    assert v1.request.instances[0].history.timestamps == (1_700_000_000_000_000,)


def test_answers_keep_the_form_of_their_request() -> None:
    instances = [{"user_id": 1}, {"user_id": 2}]
    v1 = orjson.loads(render(parse(orjson.dumps({"instances": instances})), ANSWER, "3.0"))
    assert v1["generation"] == "g3"
    assert v1["predictions"][1] == {"vector": [1.0, 0.0], "generation": "g3", "known": False}

    v2 = orjson.loads(render(parse(orjson.dumps({"inputs": [tensor("user_id", "INT64", [1, 2])]})), ANSWER, "3.0"))
    outputs = {output["name"]: output for output in v2["outputs"]}
    assert (v2["model_name"], v2["model_version"], v2["parameters"]) == ("pagoda", "3.0", {"generation": "g3"})
    assert outputs["vector"]["shape"] == [2, 2]
    np.testing.assert_allclose(outputs["vector"]["data"], [0.6, 0.8, 1, 0])
    assert outputs["known"]["data"] == [True, False]

    first = TowerAnswer(ANSWER.vectors[:1], ANSWER.known[:1], "g3")
    assert orjson.loads(render(parse(b'{"user_id": 1}'), first, "3.0"))["known"] is True


def test_a_tower_of_several_interests_answers_with_all_of_them() -> None:
    several = TowerAnswer(np.arange(12, dtype=np.float32).reshape(2, 3, 2), ANSWER.known, "g3")
    v1 = orjson.loads(render(parse(b'{"instances": [{"user_id": 1}, {"user_id": 2}]}'), several, "3.0"))
    assert [row.get("vector") for row in v1["predictions"]] == [None, None]
    assert v1["predictions"][1]["vectors"] == [[6, 7], [8, 9], [10, 11]]
    v2 = orjson.loads(render(parse(orjson.dumps({"inputs": [tensor("user_id", "INT64", [1, 2])]})), several, "3.0"))
    (output,) = (output for output in v2["outputs"] if output["datatype"] == "FP32")
    assert (output["name"], output["shape"], output["data"]) == ("vectors", [2, 3, 2], list(range(12)))


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"{", "body: not JSON"),
        (b"[1]", "body: must be a JSON object"),
        (b'{"user_id": %s}' % (b"[" * 1000 + b"]" * 1000), "body: nested too deep"),
        (b"{}", "user_id: is required"),
        (b'{"instances": []}', "instances: "),
        (b'{"instances": {}}', "instances: "),
        (b'{"instances": [{"user_id": 1}], "k": 5}', "k: unknown field"),
        (
            b'{"instances": [{"user_id": 1}, {"user_id": true}]}',
            "instances.1.user_id: must be an integer of 64 bits",
        ),
        (b'{"instances": [{"user_id": 1.5}]}', "instances.0.user_id: "),
        (b'{"instances": [{"user_id": 1, "age": 3}]}', "instances.0.age: unknown field"),
        (b'{"user_id": 36893488147419103232}', "user_id: "),
        (b'{"user_id": 1, "timestamp": "2023-01-01T00:00:00"}', "timestamp: must be ISO 8601 with a zone"),
        (
            b'{"user_id": 1, "timestamp": -5}',
            "timestamp: must be ISO 8601 with a zone",
        ),
        (b'{"user_id": 1, "history": [{"item_id": 4}]}', "history.0.timestamp: is required"),
        (b'{"user_id": 1, "history": [{"item_id": null, "timestamp": 1}]}', "history.0.item_id: "),
        (b'{"user_id": 1, "generation": ""}', "generation: "),
        (b'{"inputs": []}', "inputs: "),
        (b'{"inputs": [{"name": "user_id", "datatype": "FP8", "shape": [1], "data": [1]}]}', "inputs.0.datatype: "),
        (b'{"inputs": [{"name": "user_id", "datatype": "INT64", "shape": [2], "data": [1]}]}', "inputs.user_id: shape"),
        (b'{"inputs": [{"name": "profile", "datatype": "BYTES", "shape": [1], "data": ["{"]}]}', "inputs.profile: "),
    ],
)
def test_bad_input_is_refused_by_the_name_of_its_field(content: bytes, named: str) -> None:
    with pytest.raises(RequestError) as error:
        parse(content)
    assert str(error.value).startswith(named)
    assert render_error(error.value)[0] == 400


def test_columns_of_different_length_are_refused() -> None:
    columns = [tensor("user_id", "INT64", [1, 2]), tensor("timestamp", "INT64", [1])]
    with pytest.raises(RequestError, match=r"inputs\.timestamp: 1 values"):
        parse(orjson.dumps({"inputs": columns}))


def test_long_values_are_cut_in_messages() -> None:
    with pytest.raises(RequestError) as error:
        parse(orjson.dumps({"instances": ["x" * 10_000] * 50}))
    assert len(str(error.value)) < 2000
    assert "and 45 more" in str(error.value)


def test_each_error_has_its_status() -> None:
    assert render_error(NotHeldError("g9"))[0] == 409
    assert render_error(IntegrityError("damaged"))[0] == 500
    assert orjson.loads(render_error(RequestError("k: bad"))[1]) == {"error": "k: bad"}
