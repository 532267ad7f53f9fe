"""A simulated world: users whose interests move, items, visits, and the true preferences behind every click."""

from pagoda.simulation.config import Drift, WorldConfig, make_config
from pagoda.simulation.simulate import simulate
from pagoda.simulation.world import World

__all__ = ["Drift", "World", "WorldConfig", "make_config", "simulate"]
