"""The message `tf.train.Example`: features by name, each a list of bytes, floats or integers.

Fields and numbers are those of https://github.com/tensorflow/tensorflow, `tensorflow/core/example/example.proto` and
`feature.proto`.
"""

from __future__ import annotations

from typing import Any

from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

BYTES, FLOATS, INTEGERS = "bytes_list", "float_list", "int64_list"
_Field = FieldDescriptorProto
_LISTS = {
    BYTES: ("BytesList", _Field.TYPE_BYTES),
    FLOATS: ("FloatList", _Field.TYPE_FLOAT),
    INTEGERS: ("Int64List", _Field.TYPE_INT64),
}


def _message_class() -> Any:
    file = FileDescriptorProto(name="example.proto", package="tensorflow", syntax="proto3")
    feature = FileDescriptorProto().message_type.add(name="Feature")
    feature.oneof_decl.add(name="kind")
    for number, (kind, (name, of)) in enumerate(_LISTS.items(), 1):
        values = file.message_type.add(name=name)
        values.field.add(name="value", number=1, label=_Field.LABEL_REPEATED, type=of)
        _refer(feature, kind, number, name, oneof_index=0)
    file.message_type.append(feature)
    features = file.message_type.add(name="Features")
    entry = features.nested_type.add(name="FeatureEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, label=_Field.LABEL_OPTIONAL, type=_Field.TYPE_STRING)
    _refer(entry, "value", 2, "Feature")
    _refer(features, "feature", 1, "Features.FeatureEntry", label=_Field.LABEL_REPEATED)
    example = file.message_type.add(name="Example")
    _refer(example, "features", 1, "Features")
    # What a SequenceExample has beside its first field, so that one is noticed.
    example.field.add(name="feature_lists", number=2, label=_Field.LABEL_OPTIONAL, type=_Field.TYPE_BYTES)
    # A pool of its own: TensorFlow, where somebody imports it, registers the same names.
    pool = DescriptorPool()
    pool.Add(file)
    return GetMessageClass(pool.FindMessageTypeByName("tensorflow.Example"))


def _refer(message: Any, name: str, number: int, to: str, label: Any = _Field.LABEL_OPTIONAL, **options: int) -> None:
    kind = _Field.TYPE_MESSAGE
    message.field.add(name=name, number=number, label=label, type=kind, type_name=f".tensorflow.{to}", **options)


Example: Any = _message_class()
