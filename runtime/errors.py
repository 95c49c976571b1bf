"""What can go wrong in the engine.

    EngineError
    ├── BundleError            the bundle on disk is not what its manifest says
    │   ├── BundleFormat       bundle.json is missing, unreadable, or of a format or for prompts that are not known
    │   ├── BundleDamaged      a file is missing, has another size or another SHA-256
    │   ├── SelfTestFailed     the graphs do not reproduce the golden outputs on this machine
    │   ├── BundleNotWritten   bundle.json cannot be brought up where it lies
    │   └── EnginesUnusable    TensorRT engines are missing, damaged, or for another GPU, version or bundle
    ├── NotTaught              the model was not taught to answer such a question
    ├── DeclarationError       the file that says what a model was taught cannot be used
    ├── PictureError           the picture cannot be used
    │   ├── PictureUndecodable empty, truncated, or not a picture at all
    │   ├── PictureTooLarge    more pixels than the limit
    │   ├── RegionOutside      what is to be looked at is not in the picture
    │   ├── PictureEmpty       no pixels, or not `(height, width, 3)` uint8
    │   └── PicturesUnsupported the model has no vision tower
    ├── MessageError           a message has an unknown role, or a content that its role cannot have
    ├── PromptTooLong          prompt and token budget exceed the context length
    ├── KVBudgetExceeded       prompt and token budget need more KV cache than the engine may use
    ├── DeadlineExceeded       the request's time was over before its first token
    ├── RequestCancelled       the request was taken back before its first token
    ├── DeviceError            something about the device that the model runs on
    │   ├── DeviceUnusable     a session cannot be opened on it: no driver, library or engine, or too little memory
    │   └── DeviceFailed       a pass failed there; the next one may work
    │       └── DeviceOutOfMemory
    ├── NotFinite              the logits hold NaN or infinity: damaged weights
    ├── GrammarError           a schema or a tool set that cannot be turned into a grammar
    │   ├── UnsupportedKeyword a keyword that cannot be enforced; `path` points to it (`runtime.grammar.json_schema`)
    │   ├── GrammarTooLarge    it is over the limits on size
    │   └── Unsatisfiable      no answer could satisfy it
    ├── AnswerError            the model's answer cannot be parsed
    └── NotSeparable           the model does not tell the labelled pictures apart: nothing to calibrate

Every message names the file, key or limit concerned and says what would be right.
"""

from __future__ import annotations


class EngineError(Exception):
    """Base of everything that `runtime` raises on purpose."""

    code = "engine_error"


class BundleError(EngineError):
    code = "bundle_error"


class BundleFormat(BundleError):
    code = "bundle_format"


class BundleDamaged(BundleError):
    code = "bundle_damaged"


class BundleNotWritten(BundleError):
    code = "bundle_not_written"


class SelfTestFailed(BundleError):
    code = "self_test_failed"


class EnginesUnusable(BundleError):
    code = "engines_unusable"


class DeclarationError(EngineError):
    code = "declaration_error"


class NotTaught(EngineError):
    code = "not_taught"


class PictureError(EngineError):
    code = "picture_error"


class PictureUndecodable(PictureError):
    code = "picture_undecodable"


class PictureTooLarge(PictureError):
    code = "picture_too_large"


class RegionOutside(PictureError):
    code = "region_outside"


class PictureEmpty(PictureError):
    code = "picture_empty"


class PicturesUnsupported(PictureError):
    code = "pictures_unsupported"


class MessageError(EngineError):
    code = "message_error"


class TooFewPictures(EngineError):
    code = "too_few_pictures"


class FeaturesMissing(BundleError):
    code = "features_missing"


class PromptTooLong(EngineError):
    code = "prompt_too_long"


class KVBudgetExceeded(EngineError):
    code = "kv_budget_exceeded"


class DeadlineExceeded(EngineError):
    code = "deadline"


class RequestCancelled(EngineError):
    code = "cancelled"


class DeviceError(EngineError):
    code = "device_error"


class DeviceUnusable(DeviceError):
    code = "device_unusable"


class DeviceFailed(DeviceError):
    code = "device_failed"


class DeviceOutOfMemory(DeviceFailed):
    """`what` found no room; the message says what to do."""

    code = "device_out_of_memory"

    def __init__(self, what: str) -> None:
        super().__init__(f"{what}: lower `model.capacity` or `model.kv_cache_mb`, or end what else uses the device")


class NotFinite(EngineError):
    code = "not_finite"


class GrammarError(EngineError):
    code = "grammar_error"


class GrammarTooLarge(GrammarError):
    code = "grammar_too_large"


class Unsatisfiable(GrammarError):
    code = "unsatisfiable"


class AnswerError(EngineError):
    code = "answer_error"


class NotSeparable(EngineError):
    code = "not_separable"
