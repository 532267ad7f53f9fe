"""A simulated world: users whose interests move, items, visits, and the true preferences behind every click."""

from pagoda.data.world.config import Drift, WorldConfig, make_config
from pagoda.data.world.simulate import simulate
from pagoda.data.world.world import World

__all__ = ["Drift", "World", "WorldConfig", "make_config", "simulate"]
