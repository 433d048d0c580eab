"""The compiled part: the hot steps of the data path (controller/journal/hot)."""

from setuptools import Extension, setup

STEPS = ("append", "module", "pieces", "reads", "records", "sums")
FOLDER = "controller/journal/hot"

setup(
    ext_modules=[
        Extension(
            "controller.journal._hot",
            [f"{FOLDER}/{step}.c" for step in STEPS],
            depends=[f"{FOLDER}/hot.h"],
            extra_compile_args=["-O2"],
        )
    ]
)
