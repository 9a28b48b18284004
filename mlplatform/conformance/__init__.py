"""What every engine must do, as cases that anyone can run: `python -m mlplatform.conformance`."""
