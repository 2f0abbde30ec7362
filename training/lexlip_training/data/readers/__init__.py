"""Layouts that training alone has need of: shards of which samples are drawn at random; see lexlip_infer.datasets."""
