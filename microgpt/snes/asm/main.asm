; Power on, the frame interrupt, and the cartridge's header.

        .include "snes.inc"
        .export picture, pad_queue

        .segment "ZEROPAGE"
frames:        .res 2           ; counts up 60 times a second (PAL: 50)
pad_put:       .res 2           ; where in pad_queue the next press goes ...
pad_taken:     .res 2           ; ... and where the first lies that was not yet taken
pad_held:      .res 2
pad_repeat:    .res 2           ; frames until a held D-pad counts as pressed again
quiet:         .res 2           ; not 0: the interrupt only counts, for measurements
drawing:       .res 2           ; routines at work on the picture: 0, or it is half done
dirty:         .res 2           ; not 0: the picture changed and is to be shown

        .segment "BSS"
picture:       .res 2 * 32 * 28 ; what layer 1 shows: tile and colours of each place
pad_queue:     .res PAD_QUEUE   ; the presses, in order: buttons that went down together, as in JOY1

        .segment "RODATA"
tiles:         .incbin "tiles.bin"
tiles_end:
palette:       .incbin "palette.bin"
palette_end:
sky_blue:      .incbin "sky_blue.bin"  ; the backdrop's blue and red, some lines at a time
sky_red:       .incbin "sky_red.bin"

MAP_ADDRESS = $7000             ; in VRAM, in words

        .segment "CODE"

reset:  sei
        clc
        xce                     ; 65816, no longer 6502
        jml fast | $800000      ; the same ROM again, where it may be read faster
fast:   ai16
        ldx #$1FFF
        txs
        lda #0
        tcd
        pea $8080
        plb
        plb
        a8
        lda #1
        sta MEMSEL
        lda #$8F
        sta INIDISP             ; screen off: now the PPU may be written at any time
        stz NMITIMEN
        stz HDMAEN
        ldx #$2101
@ppu:   stz a:0,x               ; every register of the PPU that is written
        stz a:0,x               ; and the second byte of those that take two
        inx
        cpx #$2134
        bne @ppu
        a16
        ldx #$1FFE
@wram:  stz a:0,x
        dex
        dex
        bpl @wram
        ldx #$1FFE
        lda #0
@ring:  sta f:$7E2000,x
        dex
        dex
        bpl @ring

        a8
        lda #$80
        sta VMAIN               ; VRAM's address counts up after its upper byte
        a16
        stz VMADD
        ldx #0
@vram:  stz VMDATA
        inx
        bpl @vram               ; 32768 words
        stz VMADD
        ldx #0
@tiles: lda tiles,x
        sta VMDATA
        inx
        inx
        cpx #tiles_end - tiles
        bne @tiles
        a8
        stz CGADD
        ldx #0
@palette:
        lda palette,x
        sta CGDATA
        inx
        cpx #palette_end - palette
        bne @palette
        stz BGMODE              ; mode 0: four layers of 4 colours; we use one
        lda #>MAP_ADDRESS
        sta BG1SC
        lda #$FF
        sta BG1VOFS             ; the first line shown is line 1
        sta BG1VOFS
        lda #1
        sta TM
        lda #$20
        sta CGADSUB             ; add the fixed colour to the backdrop alone
        lda #$E0
        sta COLDATA             ; red, green and blue of it: 0; at power on it may be anything
        ldx #$3200              ; DMA 0 and 1: one byte a time to COLDATA
        stx DMAP
        stx DMAP + $10
        ldx #sky_blue
        stx A1T
        ldx #sky_red
        stx A1T + $10
        lda #$80
        sta A1B
        sta A1B + $10
        ai16
        call draw_all
        a8
@in:    bit HVBJOY              ; begin when a blank begins: no interrupt may come late in one
        bmi @in
@out:   bit HVBJOY
        bpl @out
        lda #3
        sta HDMAEN
        lda #$81
        sta NMITIMEN            ; interrupts at each frame, pads read automatically
        lda #$0F
        sta INIDISP
        ai16
        jmp play

interrupt:
        jml @fast | $800000
@fast:  ai16
        pha
        phx
        phy
        phd
        phb
        lda #0
        tcd
        pea $8080
        plb
        plb
        inc frames
        a8
        lda RDNMI               ; acknowledge
        a16
        ldx quiet
        bne @done
        ldx drawing
        bne @pad
        ldx dirty
        beq @pad
        ldx #MAP_ADDRESS
        stx VMADD
        ldx #$1801              ; DMA 2: two bytes a time to VMDATA
        stx DMAP + $20
        ldx #picture
        stx A1T + $20
        ldx #2 * 32 * 28
        stx DAS + $20
        stz dirty
        a8
        stz A1B + $20
        lda #4
        sta MDMAEN              ; 14,336 clocks of the 50,000 in a blank
        a16
@pad:   lda HVBJOY              ; the pads are being read, since clock 382 of the blank at most;
        lsr                     ; we come 550 in or later; until the end JOY1 is wrong
        bcs @pad
        lda JOY1
        tax
        eor pad_held
        stx pad_held
        beq @same
        ldy #24
        sty pad_repeat
        and pad_held            ; newly down
        bra @put
@same:  dec pad_repeat
        bne @done
        lda #4
        sta pad_repeat
        txa
        and #PAD_UP | PAD_DOWN | PAD_LEFT | PAD_RIGHT
@put:   beq @done
        ldx pad_put
        sta pad_queue,x
        inx
        inx
        cpx #PAD_QUEUE
        bne @room
        ldx #0
@room:  cpx pad_taken
        beq @done               ; full: the press is not kept
        stx pad_put
@done:  plb
        pld
        ply
        plx
        pla
unused: rti

; ---- the header, where every console and emulator looks ------------------------------------------
        .segment "HEADER"
        .byte "  "              ; maker: none
        .byte "GPT "            ; game code
        .res 7, 0
        .res 3, 0
        .byte TITLE             ; 21 characters
        .assert * = $FFD5, error, "the title must have 21 characters"
        .byte $30               ; LoROM, fast
        .byte $00               ; ROM alone
        .byte ROM_SIZE          ; 1024 << this
        .byte 0                 ; no RAM
        .byte 1                 ; North America; runs on any
        .byte $33, 0            ; new header; version
        .word $FFFF, $0000      ; complement and checksum: rom.py writes them

        .segment "VECTORS"
        .addr 0, 0, unused, unused, unused, interrupt, 0, unused        ; 65816
        .addr 0, 0, unused, 0, unused, unused, reset, unused            ; 6502, as it powers on
