"""What the tower is told of a user by a request is what training makes of the same facts in tables."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from pagoda.data.dataset import Dataset
from pagoda.data.spec import Categorical, FeatureSpec, TimeOf
from pagoda.data.window import to_us
from pagoda.model.encoder import Encoder
from pagoda.model.table_inputs import no_histories
from pagoda.model.user_moments import user_moments
from serving.tower.bodies import Instance
from serving.tower.inputs import InputReader
from tests.data.folders import write_dataset

CLOCK_CHANGES = datetime(2024, 10, 27, 1, tzinfo=UTC)
zones = st.none() | st.sampled_from(["Europe/Berlin", "Pacific/Auckland", "no zone"])


@settings(max_examples=25)
@given(
    st.lists(zones, min_size=1, max_size=3),
    st.lists(st.tuples(st.integers(0, 4), st.integers(-300, 300)), min_size=1, max_size=5),
)
def test_a_profiles_zone_is_read_from_the_users_table_as_from_a_request(
    homes: list[str | None], asked: list[tuple[int, int]]
) -> None:
    spec = FeatureSpec(
        history=None,
        features=(
            Categorical(name="home", tower="user"),
            TimeOf(name="hour", part="hour", zone_feature="home"),
            TimeOf(name="month", part="month", zone_feature="home"),
        ),
    )
    moments = [CLOCK_CHANGES + timedelta(minutes=minutes) for _, minutes in asked]
    times_us, user_ids = np.array([to_us(moment) for moment in moments]), np.array([user for user, _ in asked])
    users = [{"user_id": number, "home": home} for number, home in enumerate(homes)]
    with TemporaryDirectory() as folder:
        dataset = Dataset.open(write_dataset(Path(folder) / "d", users=users, spec=spec))
        encoder = Encoder.fit(spec, dataset.users(), dataset.items())
        context = pa.table({"timestamp": times_us})
        told = user_moments(
            dataset, encoder, user_ids, times_us, histories=no_histories(len(asked)), context=context
        ).keys(np.arange(len(asked)))
    given_homes = dict(enumerate(homes))
    requests = [
        Instance(user_id=user, timestamp=at, profile={"home": given_homes.get(user)})
        for user, at in zip(user_ids.tolist(), times_us.tolist(), strict=True)
    ]
    read = InputReader(encoder).read(requests, 0)
    for name in ("home", "hour", "month"):
        np.testing.assert_array_equal(told.features[name], read.features[name])
