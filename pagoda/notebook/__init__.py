"""Pagoda in a notebook or a script, without any server: a dataset, a version trained on it, what it recommends."""

from pagoda.notebook.dataset import NotebookDataset as Dataset
from pagoda.notebook.evaluation import Evaluation
from pagoda.notebook.version import Version, open_version, train

__all__ = ["Dataset", "Evaluation", "Version", "open_version", "train"]
