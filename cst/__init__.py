"""CST: photos as color, shape and texture tokens, and back."""

from cst.pipeline import CST
from cst.tokenizer.tokens import Tokens

__all__ = ["CST", "Tokens"]
