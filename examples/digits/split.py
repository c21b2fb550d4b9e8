"""Splits the images into a training and a test set, the same share of every digit in both."""

import argparse
import os

import numpy as np
from sklearn.model_selection import train_test_split

from whole import save_arrays

arguments = argparse.ArgumentParser(description=__doc__)
arguments.add_argument("--seed", type=int, default=7)
arguments.add_argument("--test-share", type=float, default=0.25)
options = arguments.parse_args()

table = np.loadtxt(os.environ.get("PRUNELLA_INPUT_RAW", "data/digits.csv.gz"), delimiter=",", dtype=np.int64)
images, digits = table[:, :64] / 16, table[:, 64]
train_images, test_images, train_digits, test_digits = train_test_split(
    images, digits, test_size=options.test_share, random_state=options.seed, stratify=digits
)
save_arrays(os.environ.get("PRUNELLA_OUTPUT_TRAIN", "train.npz"), images=train_images, digits=train_digits)
save_arrays(os.environ.get("PRUNELLA_OUTPUT_TEST", "test.npz"), images=test_images, digits=test_digits)
print(f"{len(train_digits)} images to train with, {len(test_digits)} to test with")
