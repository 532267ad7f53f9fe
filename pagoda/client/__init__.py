"""The Python client: recommendations, similar items, events and item changes over HTTP. Light: httpx and pydantic."""

from pagoda.client.answers import EventsTaken, ItemsChanged, Recommendation, RecommendedItem, SimilarItems
from pagoda.client.async_client import AsyncClient
from pagoda.client.client import Client
from pagoda.client.events import Event

__all__ = [
    "AsyncClient",
    "Client",
    "Event",
    "EventsTaken",
    "ItemsChanged",
    "Recommendation",
    "RecommendedItem",
    "SimilarItems",
]
