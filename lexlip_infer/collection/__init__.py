"""An encoded collection on disk: its manifest, its writer and its one reader."""
