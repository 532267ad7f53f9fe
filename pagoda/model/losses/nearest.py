"""Users of several interests in objectives: an item is compared with the nearest of a user's vectors."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

_ONE_VECTOR = 2


def by_nearest(products: Callable[[Tensor], Tensor], users: Tensor) -> Tensor:
    """Products of users with items, by the nearest interest of each, as a search for all of them finds items.

    ComiRec (Cen et al., KDD 2020, equation 7) has all candidates meet the interest that is nearest to the positive
    alone. The others are then never held off from what a user does not want, though each may find it.

    Args:
        products: Of users with a vector each, float32 [B, D].
        users: float32 [B, D], or of several interests [B, interests, D].

    Returns:
        What `products` gives; of several interests the largest for each item, which alone has a gradient.
    """
    if users.ndim == _ONE_VECTOR:
        return products(users)
    return torch.stack([products(interest) for interest in users.unbind(1)]).amax(0)
