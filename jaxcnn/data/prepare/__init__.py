"""Converts published files of a data set to ArrayRecord in the layout of TFDS.

Readers (`idx`, `cifar`, `svhn`, `imagenet`, `folders`) return an `original`; `writer` writes it,
`workspace` lets a killed run continue; `tfrecord` converts data sets prepared by TFDS.
"""
