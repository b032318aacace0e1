"""The plan: all that templates may know."""

from dataclasses import dataclass

from llmspec.lower.checkpoint import CheckpointPlan
from llmspec.lower.data import DataPlan
from llmspec.lower.deepspeed import DeepspeedPlan
from llmspec.lower.guard import GuardPlan
from llmspec.lower.launch import LaunchPlan
from llmspec.lower.layout import LayoutPlan
from llmspec.lower.model import ModelPlan
from llmspec.lower.optimizer import OptimizerPlan
from llmspec.lower.pieces import ConfigClass, EmittedFile
from llmspec.lower.readme import ReadmePlan
from llmspec.lower.reporting import ReportingPlan
from llmspec.lower.schedule import SchedulePlan
from llmspec.lower.training import TrainingPlan


@dataclass(frozen=True, slots=True)
class PackagePlan:
    """What pyproject.toml says of the project."""

    name: str
    dependencies: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """One project, decided to the last detail. Templates see this and only print it."""

    name: str
    description: str | None
    seed: int
    model: ModelPlan
    data: DataPlan
    training: TrainingPlan
    optimizer: OptimizerPlan
    schedule: SchedulePlan
    layout: LayoutPlan
    checkpoint: CheckpointPlan
    guard: GuardPlan
    reporting: ReportingPlan
    launch: LaunchPlan
    deepspeed: DeepspeedPlan | None
    readme: ReadmePlan
    package: PackagePlan
    config_classes: tuple[ConfigClass, ...]
    files: tuple[EmittedFile, ...]
