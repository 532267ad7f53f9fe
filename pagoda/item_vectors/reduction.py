"""Fewer numbers a vector for the index: two linear maps, of users and of items, that keep inner products best.

With M the second moment of users and C the covariance of items, M^½ C^½ = X S Yᵀ. Of all pairs of maps to d numbers,
A = M^-½ X_d S^½ for users and B = C^-½ Y_d S^½ for items less their mean μ have the least E(u·(v - μ) - Aᵀu·Bᵀ(v - μ))²
(Eckart and Young, 1936, for whitened vectors); with all numbers A Bᵀ = I, so nothing is lost. u·μ is the same for all
items of a query, so their order needs no more.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pagoda.errors import IntegrityError

REDUCTION_FILE = "reduction.npz"
_RIDGE = 1e-3
"""Of the mean eigenvalue: what a few hundred users show of a direction may be nothing, and it must be invertible."""
Vectors = NDArray[np.float32]
_Square = NDArray[np.float64]


class Reduction:
    """The two maps."""

    def __init__(self, users: Vectors, items: Vectors, mean: Vectors) -> None:
        """A and B, [D, d], and μ, [D]."""
        self._users, self._items, self.mean = users, items, mean

    @classmethod
    def learn(cls, users: Vectors, items: Iterable[Vectors], dim: int) -> Reduction:
        """From some users' vectors [q, D] and all items' in blocks [n, D], to `dim` numbers."""
        count, total, products = 0, np.zeros(users.shape[1]), np.zeros((users.shape[1],) * 2)
        for block in items:
            wide = block.astype(np.float64)
            count, total, products = count + len(wide), total + wide.sum(axis=0), products + wide.T @ wide
        mean = total / count
        wide_users = users.astype(np.float64)
        moment, covariance = wide_users.T @ wide_users / len(users), products / count - np.outer(mean, mean)
        (user_root, user_inverse), (item_root, item_inverse) = _roots(moment), _roots(covariance)
        left, values, right = np.linalg.svd(user_root @ item_root)
        scale = np.sqrt(values[:dim])
        maps = (user_inverse @ left[:, :dim] * scale, item_inverse @ right[:dim].T * scale, mean)
        return cls(*(one.astype(np.float32) for one in maps))

    @classmethod
    def read(cls, path: Path) -> Reduction:
        """What `write` wrote.

        Raises:
            IntegrityError: It is damaged.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                return cls(file["users"], file["items"], file["mean"])
        except (ValueError, KeyError, OSError, zipfile.BadZipFile) as error:
            raise IntegrityError(f"{path}: not readable as maps to fewer numbers ({error})") from error

    def write(self, folder: Path) -> None:
        """Write the file into a folder."""
        np.savez(folder / REDUCTION_FILE, users=self._users, items=self._items, mean=self.mean)

    @property
    def dim(self) -> int:
        """How many numbers remain."""
        return int(self._items.shape[1])

    def of_users(self, vectors: Vectors) -> Vectors:
        """What a collection is asked for queries [q, D]: [q, d]."""
        return np.asarray(vectors @ self._users, np.float32)

    def of_items(self, vectors: Vectors) -> Vectors:
        """What a collection holds of items [n, D]: [n, d]."""
        return np.asarray((vectors - self.mean) @ self._items, np.float32)


def _roots(matrix: _Square) -> tuple[_Square, _Square]:
    """The symmetric root and its inverse."""
    values, vectors = np.linalg.eigh(matrix)
    roots = np.sqrt(np.maximum(values, 0) + _RIDGE * max(float(values.mean()), np.finfo(np.float64).tiny))
    return (vectors * roots) @ vectors.T, (vectors / roots) @ vectors.T
