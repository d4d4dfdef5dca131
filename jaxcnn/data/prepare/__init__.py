"""From the files that a data set is published as to ArrayRecord, as TFDS lays it out.

`original` says what a reader gives (`idx`, `cifar`, `svhn`, `imagenet`, `folders`), `writer` what
becomes of it, `workspace` how a killed run goes on; `tfrecord` is for what TFDS has prepared.
"""
