"""The networks: one file per paper, the table of names, and the published figures."""

from jaxcnn.models.registry import MODELS as MODELS
from jaxcnn.models.registry import Entry as Entry
from jaxcnn.models.registry import create_model as create_model
from jaxcnn.models.registry import input_size as input_size
from jaxcnn.models.registry import list_models as list_models
from jaxcnn.models.registry import model_info as model_info
from jaxcnn.models.registry import register_model as register_model
