# The public names, for type checkers. At run time they are imported when they are first used; a test holds this list
# and the registry in __init__.py together.

from aefast import callbacks as callbacks
from aefast import dask as dask
from aefast import export as export
from aefast import plots as plots
from aefast import pyod as pyod
from aefast import ray as ray
from aefast import report as report
from aefast import schedules as schedules
from aefast import spark as spark
from aefast.callbacks import Checkpoint as Checkpoint
from aefast.callbacks import CheckpointError as CheckpointError
from aefast.callbacks import EpochInfo as EpochInfo
from aefast.callbacks import StopTraining as StopTraining
from aefast.engine.config import config as config
from aefast.engine.core import __version__ as __version__
from aefast.engine.threads import threads as threads
from aefast.estimators.autoencoder import Autoencoder as Autoencoder
from aefast.estimators.contractive import ContractiveAutoencoder as ContractiveAutoencoder
from aefast.estimators.convolutional import ConvolutionalAutoencoder as ConvolutionalAutoencoder
from aefast.estimators.convolutional import ConvolutionalDenoisingAutoencoder as ConvolutionalDenoisingAutoencoder
from aefast.estimators.convolutional import ConvolutionalVariationalAutoencoder as ConvolutionalVariationalAutoencoder
from aefast.estimators.denoising import DenoisingAutoencoder as DenoisingAutoencoder
from aefast.estimators.fleet import Fleet as Fleet
from aefast.estimators.load import load as load
from aefast.estimators.sparse import SparseAutoencoder as SparseAutoencoder
from aefast.estimators.variational import VariationalAutoencoder as VariationalAutoencoder
from aefast.exceptions import AefastError as AefastError
from aefast.exceptions import ConvergenceError as ConvergenceError
from aefast.exceptions import ModelFileError as ModelFileError
from aefast.schedules import ConstantSchedule as ConstantSchedule
from aefast.schedules import CosineSchedule as CosineSchedule
from aefast.schedules import ExponentialSchedule as ExponentialSchedule
from aefast.schedules import LinearSchedule as LinearSchedule
from aefast.schedules import ReduceOnPlateau as ReduceOnPlateau
from aefast.schedules import StepSchedule as StepSchedule
from aefast.scoring.comparison import compare as compare
from aefast.scoring.evaluation import evaluate as evaluate
from aefast.scoring.scorer import Scorer as Scorer
from aefast.scoring.sketch import ScoreSketch as ScoreSketch
from aefast.training.optimizers import SGD as SGD
from aefast.training.optimizers import Adam as Adam
from aefast.training.optimizers import AdamW as AdamW
from aefast.training.optimizers import RMSprop as RMSprop

__all__: list[str]
