"""The training configuration: one YAML file, every key typed, an unknown one refused."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, ValidationError, model_validator

from pagoda.config.channels import ChannelConfig, MergingConfig, refuse_mixture
from pagoda.config.cold import ColdConfig
from pagoda.config.device import DeviceName, Precision
from pagoda.config.distillation import DistillationConfig
from pagoda.config.distributed import DistributedConfig
from pagoda.config.ensemble import MEMBER_KEYS, MODEL_KEYS, CascadeShape, EnsembleConfig, MemberConfig
from pagoda.config.incremental import IncrementalConfig
from pagoda.config.model import ModelConfig, Routing, Section, SelfAttentive, Share
from pagoda.config.negatives import NegativesConfig, refuse_contradictions
from pagoda.config.objective import ListwiseConfig, ObjectiveConfig, PointwiseConfig, single_negatives
from pagoda.config.positives import PositivesConfig
from pagoda.config.prerank import PrerankConfig
from pagoda.config.self_supervision import SelfSupervisionConfig
from pagoda.config.validation import ValidationConfig
from pagoda.errors import ConfigError, explain
from pagoda.yaml_text import load_yaml


class OptimiserConfig(Section):
    """Row-wise Adagrad for the ID tables, AdamW for the towers."""

    full_pace_users: PositiveInt = 100
    """A window with a parent that has so many users takes steps of full length. Of fewer, all learning rates are lower
    in proportion, since a step is as long whatever it knows of the others. 1: always full length."""
    table_learning_rate: PositiveFloat = 0.1
    table_memory: Annotated[float, Field(gt=0, le=1)] = 1.0
    """1: Adagrad, whose steps shrink for ever, so that what was learned long settles. Below: a row's steps shrink until
    1 / (1 - this) of them are taken and stay as long from there on, for many epochs over one window."""
    users_carried: Annotated[float, Field(gt=0, le=1)] = 0.7
    """Share of users' sums that a full update takes over from its parent. Below 1, steps of an old user's row do not
    shrink for ever, so that it follows them, in this update and in the incrementals over it."""
    dense_learning_rate: Annotated[float, Field(gt=0, le=1)] = 1e-3
    weight_decay: NonNegativeFloat = 0.01
    """Of the towers' matrices."""
    cooldown: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Last share of training in which all learning rates fall to zero, evenly."""


class DropoutConfig(Section):
    """What is hidden in training, so that what stands for the unknown is trained, and the rest learns to do alone."""

    user: Share = 0.5
    """Users' ID rows replaced by the out-of-vocabulary row."""
    item: Share = 0.05
    """Items' ID rows replaced by the out-of-vocabulary row, in the item tower and in histories."""
    profile: Share = 0.1
    """Users whose features are all unknown."""
    history: Share = 0.1
    """Histories that are empty; else what a user without one gets would be learned from first interactions alone."""


class DriftConfig(Section):
    """What a version must keep to; one that does not is never returned."""

    max_row_norm: PositiveFloat = 100.0
    """Longest ID row; with `model.similarity: dot`, longest vector too."""
    max_mean_cosine: Annotated[float, Field(gt=0, le=1)] = 0.9
    """Mean cosine of two item vectors, or of two user vectors: near 1 the tower tells nothing apart any more."""
    max_interest_cosine: Annotated[float, Field(gt=0, le=1)] = 0.99
    """Mean cosine of two interests of one user: near 1 they are one."""
    max_recall_drop: Annotated[float, Field(gt=0, le=1)] = 0.1
    """Share of the parent's Recall@50 that a version may lose on the positives after its window. Where there is none
    yet, nothing is compared."""


class TrainConfig(Section):
    """How to train a full version."""

    seed: int = Field(0, ge=0)
    learn: Literal["positives", "sequences", "sets"] = "positives"
    """`positives`: each with a history of its own, in random order. `sequences`: users in random order, all positives
    of one in a pass over what they did, which costs a history encoder that reads events in order far less; negatives
    are then sampled, not in-batch. `sets`: users in random order, each positive with all others of its user in the
    window, whichever came first, and none of these a negative of it: for data whose order says nothing."""
    batch_size: int = Field(1024, ge=2)
    """Positives of a step; of whole sequences, about so many."""
    bootstrap_epochs: PositiveInt = 4
    """Passes over the window of a first version; one that has a parent learns each interaction once."""
    shuffle_rows: PositiveInt = 1_000_000
    """Positives shuffled at a time: all of a window that has no more, else block after block. Memory follows it."""
    retire_after_days: PositiveFloat | None = 90.0
    """Users and items unseen for so long lose their ID row; their features and history go on. None: never."""
    device: DeviceName = "auto"
    """Where training computes; `auto`: on a CUDA device where there is one."""
    precision: Precision = "auto"
    """Of the towers' computations; `auto`: bfloat16 on a CUDA device, else float32. Rows and sums stay float32."""
    checkpoint_seconds: NonNegativeFloat | None = 300.0
    """How often training saves where it is, so that a killed one goes on from there. None: never."""
    validation: ValidationConfig | None = None
    """Hold back the end of the window and stop when it is answered no better; None: learn all, every epoch."""
    patience: PositiveInt = 3
    """Epochs without a better validation after which training stops; the best epoch's weights are kept."""
    model: ModelConfig = ModelConfig()
    objective: ObjectiveConfig = ListwiseConfig()
    negatives: NegativesConfig = NegativesConfig()
    positives: PositivesConfig = PositivesConfig()
    self_supervision: SelfSupervisionConfig | None = None
    """Of the item tower; None: without."""
    distillation: DistillationConfig | None = None
    """From a teacher's scores; None: without."""
    ensemble: EnsembleConfig | None = Field(default=None, exclude_if=lambda ensemble: ensemble is None)
    """Several models as one version; None: one, of which files say nothing of it."""
    prerank: PrerankConfig | None = Field(default=None, exclude_if=lambda prerank: prerank is None)
    """A pre-ranker of what is found; None: without, and files say nothing of it."""
    cold: ColdConfig | None = Field(default=None, exclude_if=lambda cold: cold is None)
    """What stands for what is unknown of new items and users; None: out-of-vocabulary rows, and files say nothing."""
    channels: tuple[ChannelConfig, ...] = Field(default=(), exclude_if=lambda channels: not channels)
    """Where the candidates of an answer come from; none: the two towers alone, of which files say nothing."""
    merging: MergingConfig = Field(default=MergingConfig(), exclude_if=lambda merging: merging == MergingConfig())
    """How the candidates of channels become one answer."""
    distributed: DistributedConfig = Field(
        default=DistributedConfig(), exclude_if=lambda distributed: distributed == DistributedConfig()
    )
    """How many processes train a full version; of one, files say nothing."""
    optimiser: OptimiserConfig = OptimiserConfig()
    dropout: DropoutConfig = DropoutConfig()
    drift: DriftConfig = DriftConfig()
    incremental: IncrementalConfig = IncrementalConfig()
    """Of the incremental updates over this version."""

    @property
    def members(self) -> tuple[TrainConfig, ...]:
        """How each member of the ensemble is trained; of a single model, this."""
        if self.ensemble is None:
            return (self,)
        return tuple(self._member(member) for member in self.ensemble.members)

    @property
    def cascade(self) -> CascadeShape | None:
        """How vectors are read where the version is a cascade."""
        if self.ensemble is None or self.ensemble.combine != "cascade":
            return None
        return CascadeShape(self.members[0].model.dim, self.ensemble.candidates)

    @property
    def vector_dim(self) -> int:
        """Length of the item vectors that are searched: those of all members, of a cascade the first member's."""
        return self.cascade.first if self.cascade else sum(member.model.dim for member in self.members)

    @property
    def drawing(self) -> tuple[TrainConfig, ...]:
        """The members for which candidates are drawn: one where those of all members are the same."""
        members = self.members
        alike = all(
            member.negatives == members[0].negatives
            and single_negatives(member.objective) == single_negatives(members[0].objective)
            for member in members
        )
        return members[:1] if alike else members

    @property
    def architecture(self) -> tuple[object, ...]:
        """What the towers of a version and of its parent must have in common."""
        ensemble = self.ensemble
        names = (ensemble.combine, *[member.name for member in ensemble.members]) if ensemble else ()
        return *names, *[member.model for member in self.members]

    @property
    def row_dim(self) -> int:
        """Length of what the tables of ID rows hold of an ID: the rows of all members, end to end."""
        return sum(member.model.row_dim for member in self.members)

    @property
    def mined(self) -> int:
        """How many negatives that `pagoda mine` found a positive has: of an ensemble, of the member that has most."""
        return max(member.negatives.mined for member in self.members)

    def without_others(self) -> TrainConfig:
        """The same without what a version before this one has to say about negatives."""
        ensemble = self.ensemble and self.ensemble.without_others()
        return self.model_copy(update={"negatives": self.negatives.without_others(), "ensemble": ensemble})

    def rehearsed(self) -> TrainConfig:
        """How the towers of a first version are trained that know the first part of its window, for its pre-ranker.

        The dataset alone is asked: of what was mined, a teacher's scores and what another version finds irrelevant,
        nothing says that it was made before the rest of the window.
        """
        return self.without_others().model_copy(update={"prerank": None, "distillation": None})

    def _member(self, member: MemberConfig) -> TrainConfig:
        own = {name: value for name in MEMBER_KEYS if (value := getattr(member, name)) is not None}
        of_model = {name: own.pop(name) for name in MODEL_KEYS if name in own}
        try:
            model = ModelConfig(**{**dict(self.model), **of_model})
            return TrainConfig(**{**dict(self), **own, "model": model, "ensemble": None})
        except ValidationError as error:
            problem = error.errors()[0]["msg"].removeprefix("Value error, ")
            raise ValueError(f"ensemble.members: {member.name}: {problem}") from error

    @model_validator(mode="after")
    def _consistent(self) -> TrainConfig:
        if self.prerank is not None:
            self.prerank.refuse_beside(self.model, self.ensemble, self.channels)
        refuse_mixture(self.channels, self.merging)
        if self.ensemble is not None:
            self._refuse_beside(self.ensemble)
            return self
        refuse_contradictions(self.objective, self.negatives)
        of_cosines = isinstance(self.objective, PointwiseConfig) and self.objective.loss == "squares"
        if self.model.similarity == "dot" and of_cosines:
            raise ValueError(
                "objective.loss: squares draws cosines to 1 and -1, and with model.similarity: dot there are none; set "
                "objective: {kind: pointwise, loss: bce, scale: 1}"
            )
        if self.learn != "positives" and self.negatives.in_batch:
            raise ValueError(
                f"learn: {self.learn} puts all that a user chose into one batch, where what they chose later would be "
                "negatives of what came before; set negatives: {in_batch: false, uniform: 512, popularity: 512}"
            )
        self._refuse_interests()
        if self.learn == "sets":
            self._refuse_order()
        if self.validation is not None and self.bootstrap_epochs == 1:
            raise ValueError("validation chooses among epochs, but bootstrap_epochs is 1: leave it out, or allow more")
        return self

    def _refuse_beside(self, ensemble: EnsembleConfig) -> None:
        # To make the members is to check each.
        several = max(member.model.interests for member in self.members)
        there = {
            f"model.history gives {several} vectors of a user": several > 1,
            "model.similarity is dot": self.model.similarity == "dot",
            "model.branches are declared": bool(self.model.branches),
            "model.augment is declared": self.model.augment is not None,
            "self_supervision is declared": self.self_supervision is not None,
            "distillation is declared": self.distillation is not None,
            "negatives.bad is set": any(member.negatives.bad for member in self.members),
        }
        for what, is_there in there.items():
            if is_there:
                raise ValueError(f"{what}, which is for a single model; leave it out, or ensemble")
        for name in MEMBER_KEYS:
            of = self.model if name in MODEL_KEYS else self
            given = getattr(of, name) != type(of).model_fields[name].default
            if given and all(getattr(member, name) is not None for member in ensemble.members):
                where = f"model.{name}" if name in MODEL_KEYS else name
                raise ValueError(f"{where} has no effect, since each of ensemble.members names its own; leave it out")

    def _refuse_order(self) -> None:
        history, objective = self.model.history.kind, self.objective.kind
        if history != "mean":
            raise ValueError(
                f"learn: sets has no order, and model.history.kind {history} reads one; set model.history: {{kind: "
                "mean}"
            )
        if self.model.seed_item:
            raise ValueError("learn: sets has no last item, which model.seed_item reads; leave one of them out")
        if self.cold and self.cold.users:
            raise ValueError(
                "learn: sets has no first items, which cold.users makes interests of; leave one of them out"
            )
        if objective != "listwise":
            raise ValueError(
                f"learn: sets says which candidates are no negatives, and objective.kind {objective} takes single "
                "ones; set objective: {kind: listwise}"
            )

    def _refuse_interests(self) -> None:
        history = self.model.history
        if isinstance(history, SelfAttentive | Routing) and self.learn == "sequences":
            raise ValueError(
                f"learn: sequences gives what a user was after each event in one pass, and model.history.kind "
                f"{history.kind} reads each history as a whole; set learn: positives"
            )
        if self.model.interests > 1 and self.negatives.bad:
            given = self.model.interests
            raise ValueError(f"negatives.bad is for users of one vector, and model.history gives {given}; choose one")
        if self.model.interests == 1 and self.drift.max_interest_cosine != DriftConfig().max_interest_cosine:
            raise ValueError(
                "drift.max_interest_cosine compares several interests of a user, and model.history gives one; leave it "
                "out, or set model.history.kind: self_attentive or routing"
            )

    def to_yaml(self) -> str:
        """The whole configuration, defaults included."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)


def parse_config(text: str, where: str = "config") -> TrainConfig:
    """Read a configuration; what it does not name has its default.

    Raises:
        ConfigError: It is no YAML mapping, a key is unknown or a value is wrong; the message names `where` and the key.
    """
    raw = load_yaml(text, where)
    try:
        return TrainConfig.model_validate({} if raw is None else raw)
    except ValidationError as error:
        raise ConfigError(explain(error, where)) from error


def read_config(path: Path) -> TrainConfig:
    """Read a configuration file.

    Raises:
        ConfigError: It cannot be read, or as for `parse_config`.
    """
    try:
        return parse_config(path.read_text(), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({error})") from error
