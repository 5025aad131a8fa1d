"""The Super Nintendo: tables, the assembler's sources, and an emulator to run the result in."""
