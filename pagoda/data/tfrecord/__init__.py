"""TFRecord files of `tf.train.Example`, without TensorFlow.

A codec of our own on protobuf and google-crc32c, since what PyPI has loses data: `tfrecord` 1.14 verifies no checksum,
gives only the first of several byte strings, and ends a compressed file where as many bytes are unpacked as it has
packed (https://github.com/vahidk/tfrecord, `tfrecord/reader.py`); others are not maintained, or need TensorFlow.
"""
