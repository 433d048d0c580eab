"""The compiled part: the hot steps of the data path (controller/journal/_hot.c)."""

from setuptools import Extension, setup

setup(ext_modules=[Extension("controller.journal._hot", ["controller/journal/_hot.c"], extra_compile_args=["-O2"])])
