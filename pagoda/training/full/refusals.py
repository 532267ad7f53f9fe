"""What a configuration asks for and the data cannot give, said before any work starts."""

from __future__ import annotations

from pathlib import Path

import psutil

from pagoda.channels.factory import refuse_channels
from pagoda.config.model import Bsarec, ModelConfig, TowerConfig
from pagoda.config.negatives import REJECTIONS
from pagoda.config.objective import PointwiseConfig
from pagoda.config.prerank import PrerankConfig
from pagoda.config.training import TrainConfig
from pagoda.data.dataset import Dataset
from pagoda.data.layout import INTERESTS, says_interests
from pagoda.data.spec import Categorical, MultiValued, PastText, Text, Tower
from pagoda.data.window import Window
from pagoda.errors import ConfigError, DataError
from pagoda.prerank.groups import in_order
from pagoda.training.distillation.score_file import Teacher, refuse_other_columns
from pagoda.training.examples.shown_weights import shown_columns
from pagoda.training.full.side_inputs import SideInputs
from pagoda.training.full.validation import cut
from pagoda.training.negatives.mined_file import most_of_a_user
from pagoda.training.prerank.shown import parts_of, refuse_few_shown
from pagoda.version_files.full import FullVersionFiles

_BYTES, _SHARE = 4 * 12, 0.5
"""Of a number of an item, which the towers and the loss hold several times, with gradients; of what is available."""
_LOGIT_BYTES = 4 * 6
"""Of a logit of one of several interests: they are not computed in blocks; 4 to 6 numbers of each were measured."""


def refuse_what_is_not_there(config: TrainConfig, dataset: Dataset, window: Window, beside: SideInputs) -> None:
    """Compare a configuration with the data and with what there is beside it.

    Raises:
        ConfigError: It asks for hard negatives, a teacher, features of items or histories that are not there, or not
            for a file that is.
        DataError: The file of mined negatives or of scores cannot be read, or too little was shown.
    """
    refuse_what_the_data_lacks(config, dataset, window)
    _refuse_mined(config.mined, beside.mined)
    _refuse_teacher(config, beside.teacher)
    if any(member.negatives.catalogue for member in config.members):
        refuse_too_many(dataset.items().num_rows, config)
    for member in config.members:
        if isinstance(member.objective, PointwiseConfig) and member.objective.calibration:
            _refuse_more_than_others(member.objective.negatives, dataset.items().num_rows)


def refuse_what_the_data_lacks(config: TrainConfig, dataset: Dataset, window: Window) -> None:
    """Compare a configuration with the data, which costs next to nothing.

    Raises:
        ConfigError: It asks for rejections, features, groups, histories or frequencies of them that are not there.
        DataError: Too little was shown for the pre-ranker that it asks for.
    """
    for member in config.members:
        if dataset.spec.history is None:
            _refuse_histories(member, dataset)
        elif isinstance(member.model.history, Bsarec):
            _refuse_quick(member.model.history.frequencies, dataset.spec.history.length)
    refuse_channels(config.channels, dataset.spec)
    if config.learn == "sets":
        _refuse_other_events(dataset)
    if (by := shown_columns(config.positives)) and not dataset.spec.receipts:
        raise ConfigError(
            f"positives.by_{by[0].removesuffix('s')} is set, but {dataset.path}/features.yaml does not declare "
            "receipts: true, so nothing says what showed an item"
        )
    _refuse_pooling(config.model, dataset)
    if config.model.augment and (name := config.model.augment.category) is not None:
        _refuse_category("model.augment.category", name, dataset)
    if config.cold:
        _refuse_category("cold.by", config.cold.by, dataset)
        if config.cold.users and not says_interests(dataset.spec):
            raise ConfigError(
                f"cold.users is {config.cold.users}, but {dataset.path}/features.yaml declares no such feature; add "
                f"{{kind: multi, name: {INTERESTS}, tower: user, max_values: 3}}"
            )
    if config.self_supervision and not dataset.spec.of("item"):
        raise ConfigError(
            f"self_supervision needs features of items to hide and show; {dataset.path}/features.yaml declares none"
        )
    if config.prerank is not None:
        _refuse_preranking(config.prerank, dataset, window)
    for key in dict.fromkeys(key for member in config.members for key in member.negatives.rejections):
        event = REJECTIONS[key]
        found = dataset.batches(window, events=[event], columns=["timestamp"], batch_rows=1)
        if next(found, None) is None:
            raise ConfigError(f"negatives.{key} is set, but {dataset.path} has no event {event} in {window.key}")


def refuse_rehearsal(config: TrainConfig, dataset: Dataset, window: Window) -> None:
    """Refuse a first version whose pre-ranker has too little to be rehearsed by, or to learn then.

    It reads when all was shown, twice; a version with a parent has no rehearsal.

    Raises:
        ConfigError: A part of the window has not what the configuration asks for.
        DataError: Too little was shown in the last part, or there is no positive in the first.
    """
    if config.prerank is None:
        return
    try:
        learned, later = parts_of(dataset, window)
        refuse_few_shown(dataset, later)
        if config.validation is not None:
            learned, asked = cut(learned, config.validation)
            dataset.require(asked, events=dataset.spec.positives)
        dataset.require(learned, events=dataset.spec.positives)
        refuse_what_the_data_lacks(config.rehearsed(), dataset, learned)
    except (ConfigError, DataError) as error:
        raise type(error)(
            "prerank of a first version learns from the last fifth of what was shown, by towers whose training is "
            f"rehearsed on the time before: {error}"
        ) from error


def _refuse_preranking(config: PrerankConfig, dataset: Dataset, window: Window) -> None:
    if config.features != "auto":
        in_order(dataset.spec, config.features)
    refuse_few_shown(dataset, window)
    if dataset.spec.rules is not None:
        raise ConfigError(
            f"prerank orders by the chance of a click alone, so the rules of {dataset.path}/features.yaml would say "
            "nothing in an answer's order; leave one of them out"
        )


def _refuse_pooling(model: ModelConfig, dataset: Dataset) -> None:
    towers: tuple[tuple[Tower, TowerConfig], ...] = (("user", model.user), ("item", model.item))
    for tower, declared in towers:
        several = any(isinstance(feature, MultiValued | Text | PastText) for feature in dataset.spec.of(tower))
        if declared.pooling != TowerConfig().pooling and not several:
            raise ConfigError(
                f"model.{tower}.pooling is {declared.pooling}, but {dataset.path}/features.yaml declares no multi or "
                f"text feature of the {tower} tower, and others have one value; leave the key out"
            )


def refuse_too_many(items: int, config: TrainConfig) -> None:
    """Refuse a softmax over more items than a step can hold.

    Raises:
        ConfigError: They take more than half of the memory that is available.
    """
    dim = sum(member.model.dim for member in config.members)
    interests, there = config.model.interests, psutil.virtual_memory().available
    bytes_of_item, beside = dim * _BYTES, ""
    if interests > 1:
        bytes_of_item += interests * config.batch_size * _LOGIT_BYTES
        beside = f", beside {config.batch_size:,} users of {interests} interests,"
    if (needed := items * bytes_of_item) > there * _SHARE:
        raise ConfigError(
            f"negatives.catalogue: a batch with all {items:,} items of {dim} numbers{beside} takes {needed / 1e9:.1f} "
            f"GB, and {there / 1e9:.1f} GB of memory are available; sample instead: uniform: 512, popularity: 512"
        )


def _refuse_more_than_others(negatives: int, items: int) -> None:
    if negatives > items - 1:
        raise ConfigError(
            f"objective.calibration is for fewer negatives than there are other items, but objective.negatives is "
            f"{negatives} and the catalogue has {items:,} items; leave calibration out, or lower negatives"
        )


def _refuse_histories(config: TrainConfig, dataset: Dataset) -> None:
    model = config.model
    wanted = {
        f"learn is {config.learn}": config.learn != "positives",
        "model.seed_item is true": model.seed_item,
        # The default stands in every configuration that was written whole, so it says nothing.
        f"model.history is declared ({model.history.kind})": model.history != ModelConfig().history,
        "model.user.id_row is false, which leaves the history to tell users apart by": not model.user.id_row,
    }
    for what, is_wanted in wanted.items():
        if is_wanted:
            raise ConfigError(f"{what}, but {dataset.path}/features.yaml declares no history")


def _refuse_quick(frequencies: int, length: int) -> None:
    # From half of the events on, a frequency is a slower one again, and would count twice.
    if frequencies > (most := (length + 1) // 2):
        raise ConfigError(
            f"model.history.frequencies is {frequencies}, but histories of {length} events have {most} to tell apart; "
            f"set at most {most}"
        )


def _refuse_other_events(dataset: Dataset) -> None:
    positives, events = dataset.spec.positives, dataset.spec.history_events
    if set(positives) != set(events) or dataset.spec.embeds_events:
        raise ConfigError(
            f"learn is sets, by which what a user chose is their history, and {dataset.path}/features.yaml declares "
            f"histories of {' and '.join(events)} for positives of {' and '.join(positives)}, or embed_event; declare "
            "histories of the positives alone"
        )


def _refuse_category(key: str, name: str, dataset: Dataset) -> None:
    declared = [one.name for one in dataset.spec.of("item") if isinstance(one, Categorical | MultiValued)]
    if name not in declared:
        raise ConfigError(
            f"{key} is {name!r}, which is no categorical or multi-valued feature of items in "
            f"{dataset.path}/features.yaml; these are: {', '.join(declared) or 'none'}"
        )


def _refuse_mined(wanted: int, mined: Path | None) -> None:
    if mined is None:
        if wanted:
            raise ConfigError(
                f"negatives.mined is {wanted}, but nothing was mined: `pagoda mine` writes a file for --mined"
            )
        return
    if not wanted:
        raise ConfigError(f"negatives.mined is 0, so {mined} would not be used; say how many of it to take")
    if (most := most_of_a_user(mined)) < wanted:
        raise ConfigError(f"negatives.mined is {wanted}, but {mined} has at most {most} of a user")


def refuse_nobody_to_ask(
    config: TrainConfig, dataset: Dataset, relevance: FullVersionFiles | None, parent: FullVersionFiles | None
) -> None:
    """Refuse bad negatives where no version says what is irrelevant, and such a version where nobody asks it.

    Raises:
        ConfigError: One is there without the other, or the version reads other features.
    """
    bad = config.negatives.bad
    if bad and relevance is None and parent is None:
        raise ConfigError(
            f"negatives.bad is {bad}, but no version says what is irrelevant: --relevance takes an earlier --out, and "
            "one with a --parent asks that; a first version goes without"
        )
    if relevance is None:
        return
    if not bad:
        raise ConfigError(f"negatives.bad is 0, so --relevance {relevance.folder.parent} would not be asked")
    if not relevance.encoder.reads(dataset.spec):
        raise ConfigError(f"--relevance {relevance.folder.parent} reads other features than {dataset.path} has")
    if (interests := relevance.config.model.interests) > 1:
        raise ConfigError(
            f"--relevance {relevance.folder.parent} has {interests} vectors a user; take a version that has one"
        )


def refuse_unused(config: TrainConfig, teacher: str) -> None:
    """Refuse distillation without a teacher, and a teacher (where its scores are; empty: none) without distillation.

    Raises:
        ConfigError: One is there without the other.
    """
    if config.distillation and not teacher:
        raise ConfigError(
            "distillation is declared, but there is no teacher: --teacher FILE takes a ranker's scores (Parquet)"
        )
    if teacher and not config.distillation:
        raise ConfigError(f"distillation is not declared, so {teacher} would not be used; declare it or leave that out")


def _refuse_teacher(config: TrainConfig, teacher: Teacher | None) -> None:
    refuse_unused(config, str(teacher.file) if teacher else "")
    if teacher:
        refuse_other_columns(teacher.file)
