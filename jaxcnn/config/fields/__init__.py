"""The sections of a config whose fields configure no single file."""
