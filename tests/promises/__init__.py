"""Tests of promises that belong to no single part."""
