"""Precisions beside float32: half and dynamic int8, each let into a bundle by the parity gate alone."""
