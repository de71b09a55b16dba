"""Package list of crl; everything else stands in pyproject.toml."""

from setuptools import find_namespace_packages, setup

ROBOT_LIBRARIES = ("TargetLibrary", "X2GoLibrary")

setup(
    packages=[*find_namespace_packages(include=["crl", "crl.*"]), *ROBOT_LIBRARIES],
    package_dir={name: f"robotlibs/{name}" for name in ROBOT_LIBRARIES},
    package_data={"": ["py.typed"]},
)
