"""Writes digits.csv.gz: the 1,797 handwritten digits that scikit-learn carries with it.

One line an image: 64 grey values from 0 to 16, row by row, then the digit.
Running it again gives the same content; no name and no time enters the file.
"""

import gzip
from pathlib import Path

from sklearn.datasets import load_digits

pixels, digits = load_digits(return_X_y=True)
lines = (",".join(str(int(value)) for value in (*image, digit)) for image, digit in zip(pixels, digits))
text = "\n".join(lines) + "\n"

target = Path(__file__).with_name("digits.csv.gz")
target.write_bytes(gzip.compress(text.encode("ascii"), compresslevel=9, mtime=0))
