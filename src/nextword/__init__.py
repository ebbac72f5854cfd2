"""nextword: decoder-only language models on the machine you have. The names exported here are the API.

Importing this is cheap: a module is imported when one of its names is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # what editors and type checkers read; `_EXPORTS` says the same to the interpreter
    from nextword.data.labelled import LabelledText as LabelledText
    from nextword.data.prepare import PrepareReport as PrepareReport
    from nextword.data.selection import SelectionOptions as SelectionOptions
    from nextword.data.selection import SelectionReport as SelectionReport
    from nextword.data.summarised import SummarisedText as SummarisedText
    from nextword.decoding.distribution import Distribution as Distribution
    from nextword.decoding.distribution_table import DistributionTable as DistributionTable
    from nextword.decoding.distribution_table import TableRow as TableRow
    from nextword.decoding.params import SamplingParams as SamplingParams
    from nextword.decoding.sampler import ChosenToken as ChosenToken
    from nextword.errors import BackendError as BackendError
    from nextword.errors import CheckpointError as CheckpointError
    from nextword.errors import ConfigError as ConfigError
    from nextword.errors import DataError as DataError
    from nextword.errors import DownloadError as DownloadError
    from nextword.errors import MissingExtraError as MissingExtraError
    from nextword.errors import NextwordError as NextwordError
    from nextword.errors import OutOfMemoryError as OutOfMemoryError
    from nextword.errors import RequestError as RequestError
    from nextword.errors import StepInterruptedError as StepInterruptedError
    from nextword.errors import TokenizerError as TokenizerError
    from nextword.errors import TrainingError as TrainingError
    from nextword.evaluation.bootstrap import Interval as Interval
    from nextword.evaluation.classification import CalibrationBin as CalibrationBin
    from nextword.evaluation.classification import ClassificationReport as ClassificationReport
    from nextword.evaluation.classification import LabelScores as LabelScores
    from nextword.evaluation.compare import Comparison as Comparison
    from nextword.evaluation.compare import Difference as Difference
    from nextword.evaluation.conventions import Convention as Convention
    from nextword.evaluation.decoded import DecodedFigures as DecodedFigures
    from nextword.evaluation.lm_eval_run import TaskMetric as TaskMetric
    from nextword.evaluation.perplexity import PerplexityReport as PerplexityReport
    from nextword.evaluation.rouge import RougeFigure as RougeFigure
    from nextword.evaluation.rouge import RougeReport as RougeReport
    from nextword.evaluation.score import Score as Score
    from nextword.evaluation.surprise import ScoredPiece as ScoredPiece
    from nextword.evaluation.surprise import SurpriseReport as SurpriseReport
    from nextword.inference.generation import Completion as Completion
    from nextword.inference.generation import Generation as Generation
    from nextword.lab.open_lab import open_lab as open_lab
    from nextword.language_model import LanguageModel as LanguageModel
    from nextword.language_model import Stream as Stream
    from nextword.loading import load as load
    from nextword.loading import load_tokenizer as load_tokenizer
    from nextword.tasks.chat import Conversation as Conversation
    from nextword.tasks.classify import Classification as Classification
    from nextword.tasks.classify import Classifier as Classifier
    from nextword.tasks.classify import ClassifyOptions as ClassifyOptions
    from nextword.tasks.summarize import Summary as Summary
    from nextword.text.tokenizer import Tokenizer as Tokenizer
    from nextword.text.train_tokenizer import TokenizerReport as TokenizerReport
    from nextword.training.callbacks import StepReport as StepReport
    from nextword.training.finetune_recipe import FinetuneRecipe as FinetuneRecipe
    from nextword.training.metrics import Curve as Curve
    from nextword.training.plan import Plan as Plan
    from nextword.training.pretrain_recipe import PretrainRecipe as PretrainRecipe
    from nextword.workflows.classify import ClassifiedFile as ClassifiedFile
    from nextword.workflows.classify import classify as classify
    from nextword.workflows.compare import FileComparison as FileComparison
    from nextword.workflows.compare import compare as compare
    from nextword.workflows.decoding_report import DecodingReport as DecodingReport
    from nextword.workflows.decoding_report import decoding_report as decoding_report
    from nextword.workflows.evaluate import TaskReport as TaskReport
    from nextword.workflows.evaluate import evaluate as evaluate
    from nextword.workflows.finetune import finetune as finetune
    from nextword.workflows.finetune import plan_finetune as plan_finetune
    from nextword.workflows.model_list import ListedModel as ListedModel
    from nextword.workflows.model_list import ModelList as ModelList
    from nextword.workflows.model_list import list_models as list_models
    from nextword.workflows.next_plot import save_next_plot as save_next_plot
    from nextword.workflows.perplexity import ConventionResult as ConventionResult
    from nextword.workflows.perplexity import FilePerplexity as FilePerplexity
    from nextword.workflows.perplexity import perplexity as perplexity
    from nextword.workflows.prepare import PreparedCorpus as PreparedCorpus
    from nextword.workflows.prepare import prepare as prepare
    from nextword.workflows.pretrain import plan_pretrain as plan_pretrain
    from nextword.workflows.pretrain import pretrain as pretrain
    from nextword.workflows.progress import Progress as Progress
    from nextword.workflows.pull import pull as pull
    from nextword.workflows.rouge import RougeComparison as RougeComparison
    from nextword.workflows.rouge import rouge as rouge
    from nextword.workflows.save_model import SavedModel as SavedModel
    from nextword.workflows.save_model import export as export
    from nextword.workflows.save_model import merge as merge
    from nextword.workflows.serve import serve as serve
    from nextword.workflows.surprise import surprise as surprise
    from nextword.workflows.train_tokenizer import TrainedTokenizer as TrainedTokenizer
    from nextword.workflows.train_tokenizer import train_tokenizer as train_tokenizer
    from nextword.workflows.training_example import ExampleToken as ExampleToken
    from nextword.workflows.training_example import TrainingExample as TrainingExample
    from nextword.workflows.training_example import training_example as training_example
    from nextword.workflows.training_run import TrainingRun as TrainingRun

_EXPORTS = {
    "data.labelled": ("LabelledText",),
    "data.prepare": ("PrepareReport",),
    "data.selection": ("SelectionOptions", "SelectionReport"),
    "data.summarised": ("SummarisedText",),
    "decoding.distribution": ("Distribution",),
    "decoding.distribution_table": ("DistributionTable", "TableRow"),
    "decoding.params": ("SamplingParams",),
    "decoding.sampler": ("ChosenToken",),
    "errors": (
        "BackendError",
        "CheckpointError",
        "ConfigError",
        "DataError",
        "DownloadError",
        "MissingExtraError",
        "NextwordError",
        "OutOfMemoryError",
        "RequestError",
        "StepInterruptedError",
        "TokenizerError",
        "TrainingError",
    ),
    "evaluation.bootstrap": ("Interval",),
    "evaluation.classification": ("CalibrationBin", "ClassificationReport", "LabelScores"),
    "evaluation.compare": ("Comparison", "Difference"),
    "evaluation.conventions": ("Convention",),
    "evaluation.decoded": ("DecodedFigures",),
    "evaluation.lm_eval_run": ("TaskMetric",),
    "evaluation.perplexity": ("PerplexityReport",),
    "evaluation.rouge": ("RougeFigure", "RougeReport"),
    "evaluation.score": ("Score",),
    "evaluation.surprise": ("ScoredPiece", "SurpriseReport"),
    "inference.generation": ("Completion", "Generation"),
    "lab.open_lab": ("open_lab",),
    "language_model": ("LanguageModel", "Stream"),
    "loading": ("load", "load_tokenizer"),
    "tasks.chat": ("Conversation",),
    "tasks.classify": ("Classification", "Classifier", "ClassifyOptions"),
    "tasks.summarize": ("Summary",),
    "text.tokenizer": ("Tokenizer",),
    "text.train_tokenizer": ("TokenizerReport",),
    "training.callbacks": ("StepReport",),
    "training.finetune_recipe": ("FinetuneRecipe",),
    "training.metrics": ("Curve",),
    "training.plan": ("Plan",),
    "training.pretrain_recipe": ("PretrainRecipe",),
    "workflows.classify": ("ClassifiedFile", "classify"),
    "workflows.compare": ("FileComparison", "compare"),
    "workflows.decoding_report": ("DecodingReport", "decoding_report"),
    "workflows.evaluate": ("TaskReport", "evaluate"),
    "workflows.finetune": ("finetune", "plan_finetune"),
    "workflows.model_list": ("ListedModel", "ModelList", "list_models"),
    "workflows.next_plot": ("save_next_plot",),
    "workflows.perplexity": ("ConventionResult", "FilePerplexity", "perplexity"),
    "workflows.prepare": ("PreparedCorpus", "prepare"),
    "workflows.pretrain": ("plan_pretrain", "pretrain"),
    "workflows.progress": ("Progress",),
    "workflows.pull": ("pull",),
    "workflows.rouge": ("RougeComparison", "rouge"),
    "workflows.save_model": ("SavedModel", "export", "merge"),
    "workflows.serve": ("serve",),
    "workflows.surprise": ("surprise",),
    "workflows.train_tokenizer": ("TrainedTokenizer", "train_tokenizer"),
    "workflows.training_example": ("ExampleToken", "TrainingExample", "training_example"),
    "workflows.training_run": ("TrainingRun",),
}
_HOMES = {name: f"nextword.{module}" for module, names in _EXPORTS.items() for name in names}

__version__ = "0.1.0"
__all__ = sorted(_HOMES)  # type checkers read the imports above


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'nextword' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
