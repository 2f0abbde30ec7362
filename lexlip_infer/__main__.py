"""`python -m lexlip_infer`: the command `lexlip`, where its folder is not on the path."""

from lexlip_infer.cli.main import run

if __name__ == "__main__":
    run()
