; What is on the screen: 32 x 28 places, drawn into `picture`, shown by the next frame's interrupt.
;
; No frame shows what is half done. The routines that the game calls (draw_all, draw_name,
; draw_token, draw_last_name, draw_status) count themselves into `drawing`, and leave through
; `drawn`; while one of them is at work the interrupt copies nothing. The others only write into
; `picture`.

        .include "snes.inc"

; Colours, as a place's upper byte.
WHITE  = $0000
GOLD   = $0400
TEAL   = $0800
BRIGHT = $0C00
GREEN  = $1000
RED    = $1400
VIOLET = $1800
GREY   = $1C00

END    = '|'                    ; the mark of BOS
CUT    = '+'                    ; the mark of letters that have no place

LINE   = 64                     ; bytes from a place to the one below
COLUMN = 2

WIDTH  = 13                     ; letters of a name that are shown, of 16
SPACING = 1 + (BLOCK_SIZE <= 8) ; columns from one position to the next, inside
TOP    = 3                      ; the frame's first line and last
BOTTOM = 20

        .segment "ZEROPAGE"
colour:        .res 2
place:         .res 2           ; offset in picture
count:         .res 2
height:        .res 2           ; of a bar, in lines
number:        .res 2
bar_of:        .res 2
offset:        .res 2
rate:          .res 2           ; tenths of tokens a second, at the last name
room:          .res 2           ; letters that a text may still have

        .segment "RODATA"
; Each text: its place, its colours, the letters, 0.
fixed_texts:
        .word 1 * LINE + 20 * COLUMN, TEAL
        .byte CARTRIDGE, 0
        .word 2 * LINE + 20 * COLUMN, GREY
        .byte "at 3.58 MHz", 0
        .word 22 * LINE + 1 * COLUMN, TEAL
        .byte "seed", 0
        .word 22 * LINE + 12 * COLUMN, TEAL
        .byte "temp", 0
        .word 22 * LINE + 21 * COLUMN, TEAL
        .byte "speed", 0
        .word 23 * LINE + 1 * COLUMN, TEAL
        .byte "prefix", 0
        .word BOTTOM * LINE + 15 * COLUMN, TEAL
        .byte "      tokens/s ", 0
        .word $FFFF
names_texts:
        .word TOP * LINE + 3 * COLUMN, BRIGHT
        .byte " twenty new names ", 0
        .word $FFFF
inside_texts:
        .word TOP * LINE + 3 * COLUMN, BRIGHT
        .byte " what it attends to ", 0
        .word 6 * LINE + 2 * COLUMN, TEAL
        .byte "head 1", 0
        .word 8 * LINE + 2 * COLUMN, TEAL
        .byte "head 2", 0
        .word 10 * LINE + 2 * COLUMN, TEAL
        .byte "head 3", 0
        .word 12 * LINE + 2 * COLUMN, TEAL
        .byte "head 4", 0
        .word 4 * LINE + 4 * COLUMN, GREY
        .byte "100%", 0
        .repeat ::N_HEAD, h
            .word (5 + 2 * h) * LINE + 8 * COLUMN, GREY
            .byte "[", 0        ; a mark at 14 lines ...
            .word (6 + 2 * h) * LINE + 8 * COLUMN, GREY
            .byte "]", 0        ; ... at 7, and at 0
        .endrepeat
        .word 14 * LINE + 3 * COLUMN, BRIGHT
        .byte " what may come next ", 0
        .word 14 * LINE + 26 * COLUMN, GREY
        .byte "100%", 0
        .word 15 * LINE + 29 * COLUMN, GREY
        .byte "{", 0            ; a mark at 32 lines ...
        .word 16 * LINE + 29 * COLUMN, GREY
        .byte "}", 0
        .word 17 * LINE + 29 * COLUMN, GREY
        .byte "{", 0            ; ... at 16 ...
        .word 18 * LINE + 29 * COLUMN, GREY
        .byte "~", 0            ; ... and at 0
        .word 19 * LINE + 2 * COLUMN, GREY
        .byte "abcdefghijklmnopqrstuvwxyz", END, 0
        .word $FFFF
help_texts:
        .word 25 * LINE + 1 * COLUMN, GREY
        .byte "START new SELECT inside Y step", 0
        .word 26 * LINE + 1 * COLUMN, GREY
        .byte "A prefix  X seed  L/R speed   ", 0
        .word $FFFF
inside_help:
        .word 25 * LINE + 18 * COLUMN, GREY
        .byte "names ", 0
        .word $FFFF
edit_texts:
        .word 25 * LINE + 1 * COLUMN, GREY
        .byte "UP DOWN turn  LEFT RIGHT move ", 0
        .word 26 * LINE + 1 * COLUMN, GREY
        .byte "START make names  B go back   ", 0
        .word $FFFF
title:  .byte "MicroGPT", 0
speeds: .byte "fast", 0, "slow", 0, "step", 0

        .segment "CODE"

; Draw the whole screen.
;   IN        view and all that is shown
;   OUT       picture, dirty
;   CLOBBERS  A X Y mul_a mul_b product dividend divisor colour room place count height lines number
;             bar_of offset
;   CLOCKS    170,000; inside 310,000
routine draw_all, 16, 16
        inc drawing
        ldx #2 * 32 * 28 - 2
@clear: stz picture,x
        dex
        dex
        bpl @clear
        lda #GOLD
        sta colour
        lda #8
        sta room
        ldx #title
        ldy #1 * LINE + 2 * COLUMN
        call draw_big
        call draw_frame
        ldx #fixed_texts
        call draw_texts
        lda view
        bne @inside
        ldx #names_texts
        call draw_texts
        stz number
@name:  lda number
        cmp name_number
        beq @named
        call draw_one
        inc number
        bra @name
@named: call draw_name
        bra @status
@inside:
        ldx #inside_texts
        call draw_texts
        call draw_inside
@status:
        call draw_rate
        call draw_status
        bra drawn
.endproc

; End a drawing: the next frame shows it, unless it is part of another.
;   IN        drawing
;   OUT       drawing, dirty
;   CLOBBERS  -
;   CLOCKS    140
routine drawn, 16, 16
        dec drawing
        inc dirty
        rts
.endproc

; Draw a list of texts.
;   IN        X: its address
;   OUT       picture
;   CLOBBERS  A X Y colour room
;   CLOCKS    400 a letter
routine draw_texts, 16, 16
@next:  lda a:0,x
        bmi @done
        tay
        lda a:2,x
        sta colour
        lda #32
        sta room
        inx
        inx
        inx
        inx
        call draw_text
        bra @next
@done:  rts
.endproc

; Draw a text of small letters.
;   IN        X: address of letters, then 0; Y: offset in picture; colour; room: letters at most
;   OUT       X: behind the 0; Y: behind the text
;   CLOBBERS  A X Y room
;   CLOCKS    300 a letter
routine draw_text, 16, 16
@next:  lda a:0,x
        inx
        and #$00FF
        beq @done
        dec room
        bmi @done               ; the rest of it has no place
        sec
        sbc #' '
        ora colour
        sta picture,y
        iny
        iny
        bra @next
@done:  rts
.endproc

; Draw a text of letters two places wide and high.
;   IN        X: address of letters, then 0; Y: offset in picture; colour; room: letters at most
;   OUT       picture; Y: behind the text
;   CLOBBERS  A X Y room
;   CLOCKS    700 a letter
routine draw_big, 16, 16
@next:  lda a:0,x
        inx
        and #$00FF
        beq @done
        dec room
        bmi @done
        cmp #'a'
        bcs @small
        sbc #'A' - 27           ; the carry is clear: A comes after z
        bra @tile
@small: sbc #'a'
@tile:  jsr tile
        iny
        iny
        iny
        iny
        bra @next
@done:  rts

tile:   asl                     ; A: a letter's number, four tiles each
        asl
        adc #TILE_BIG           ; the carry is clear
        ora colour
        sta picture,y
        inc
        sta picture + COLUMN,y
        inc
        sta picture + LINE,y
        inc
        sta picture + LINE + COLUMN,y
        rts
.endproc

; Draw the frame.
;   IN        -
;   OUT       picture
;   CLOBBERS  A X Y colour count
;   CLOCKS    9,800
routine draw_frame, 16, 16
        ldx #TOP * LINE + 1 * COLUMN
        lda #TILE_FRAME | VIOLET
        jsr line
        lda #BOTTOM - TOP - 1
        sta count
@side:  lda #(TILE_FRAME + 3) | VIOLET
        sta picture,x
        inc
        sta picture + 2 * 29,x
        txa
        clc
        adc #64
        tax
        dec count
        bne @side
        lda #(TILE_FRAME + 5) | VIOLET
line:   sta picture,x           ; corner, line, corner; X: to the next line
        inc
        ldy #28
@next:  inx
        inx
        sta picture,x
        dey
        bne @next
        inc
        sta picture + 2,x
        txa
        clc
        adc #64 - 2 * 28
        tax
        rts
.endproc

; Show the list's finished name, and the speed since the list began.
;   IN        name_number, view, list_tokens, list_frame, frames
;   OUT       picture, dirty; rate
;   CLOBBERS  A X Y mul_a mul_b product dividend divisor colour room number offset
;   CLOCKS    19,800
routine draw_last_name, 16, 16
        inc drawing
        lda view
        bne @rate
        lda name_number
        dec
        sta number
        call draw_one
@rate:  lda list_tokens         ; tenths of tokens a second
        sta mul_a
        ldx #601                ; frames in 10 seconds
        lda STAT78
        and #$0010
        beq @ntsc
        ldx #500
@ntsc:  stx mul_b
        call mul16u
        lda product
        sta dividend
        lda product + 2
        sta dividend + 2
        lda frames
        sec
        sbc list_frame
        sta divisor
        call divide
        sta rate
        call draw_rate
        jmp drawn
.endproc

; Draw a name of the list. Where it is too long for its place the last letter gives way to a mark.
;   IN        number: which
;   OUT       picture
;   CLOBBERS  A X Y mul_a mul_b product colour room offset
;   CLOCKS    4,000
routine draw_one, 16, 16
        lda #WHITE
        sta colour
        jsr where
        lda #WIDTH
        sta room
        call draw_text
        lda room
        bpl @whole
        lda #CUT - ' ' + GREY
        sta picture - COLUMN,y
@whole: rts

where:                          ; X: the letters of the name `number`; Y: its place
        lda number
        sta mul_a
        lda #BLOCK_SIZE + 2
        sta mul_b
        call mul16u
        lda product
        clc
        adc #names
        pha
        lda number
        ldy #5 * LINE + 3 * COLUMN
        cmp #10
        bcc @left
        sbc #10
        ldy #5 * LINE + 17 * COLUMN
@left:  sty offset
        asl
        asl
        asl
        asl
        asl
        asl                     ; lines of 64 bytes
        clc
        adc offset
        tay
        plx
        rts
.endproc

; Begin a name: an empty place below the list.
;   IN        view, name_number, names
;   OUT       picture, dirty
;   CLOBBERS  A X Y mul_a mul_b product colour number offset
;   CLOCKS    10,600
routine draw_name, 16, 16
        lda view
        bne @inside
        inc drawing
        ldx #2 * 28 - 2
@clear: stz picture + 17 * LINE + 2 * COLUMN,x
        stz picture + 18 * LINE + 2 * COLUMN,x
        dex
        dex
        bpl @clear
        lda name_number
        cmp #20
        bcs @done
        sta number
        lda #BRIGHT
        sta colour
        jsr draw_one::where
        lda #WIDTH
        sta room
        ldy #17 * LINE + 3 * COLUMN
        call draw_big
@done:  jmp drawn
@inside:
        rts
.endproc

; Draw the letter that a name has grown by. If there is no place for it those before it move up.
;   IN        chosen: the letter; position: the one before it; name_letter: the address behind it
;   OUT       picture
;   CLOBBERS  A X Y colour room
;   CLOCKS    500; 8,600 if letters move
routine draw_letter, 16, 16
        lda #BRIGHT
        sta colour
        lda position
        cmp #WIDTH
        bcs @move
        asl
        asl
        adc #17 * LINE + 3 * COLUMN
        tay
        lda chosen
        jmp draw_big::tile
@move:  lda name_letter
        sbc #WIDTH              ; the carry is set
        tax
        lda #WIDTH
        sta room
        ldy #17 * LINE + 3 * COLUMN
        jmp draw_big
.endproc

; Show the token that was just chosen.
;   IN        view, chosen, names, and what the model left behind
;   OUT       picture, dirty
;   CLOBBERS  A X Y mul_a mul_b product dividend divisor colour room place count height lines number
;             bar_of offset
;   CLOCKS    850; inside 138,000
routine draw_token, 16, 16
        inc drawing
        lda view
        bne @inside
        lda chosen
        cmp #BOS
        beq @done
        call draw_letter
@done:  jmp drawn
@inside:
        call draw_inside
        bra @done
.endproc

; Draw the settings.
;   IN        seed, temperature, speed, prefix, prefix_length, editing
;   OUT       picture, dirty
;   CLOBBERS  A X Y mul_a mul_b product dividend divisor colour room place count number
;   CLOCKS    26,000
routine draw_status, 16, 16
        inc drawing
        lda seed                ; four digits, the one being edited bright
        sta number
        ldx #0
@digit: ldy #4
        lda #0
@bit:   asl number
        rol
        dey
        bne @bit
        cmp #10
        bcc @decimal
        adc #'A' - '9' - 2      ; the carry is set
@decimal:
        adc #'0' - ' '          ; it is clear
        sta picture + 22 * LINE + 6 * COLUMN,x
        txa
        lsr
        inc
        inc
        cmp editing
        bne @plain
        lda picture + 22 * LINE + 6 * COLUMN,x
        ora #BRIGHT
        sta picture + 22 * LINE + 6 * COLUMN,x
@plain: inx
        inx
        cpx #8
        bne @digit

        lda temperature         ; 0.1 to 1.5
        inc
        ldx #'0' - ' '
        cmp #10
        bcc @less
        sbc #10
        inx
@less:  stx picture + 22 * LINE + 17 * COLUMN
        ldx #'.' - ' '
        stx picture + 22 * LINE + 18 * COLUMN
        clc
        adc #'0' - ' '
        sta picture + 22 * LINE + 19 * COLUMN

        stz colour
        lda speed
        asl
        asl
        adc speed               ; 5 bytes each
        adc #speeds
        tax
        ldy #22 * LINE + 27 * COLUMN
        lda #4
        sta room
        call draw_text

        ldx #0                  ; the prefix, the letter being edited bright
        ldy #0
@letter:
        lda #'-' - ' ' + GREY
        cpy prefix_length
        bcs @set
        lda prefix,x
        adc #'a' - ' '
        iny
        cpy prefix_length
        bne @dull
        pha
        lda editing
        dec
        bne @shown
        pla
        ora #BRIGHT
        pha
@shown: pla
@dull:  dey
@set:   sta picture + 23 * LINE + 8 * COLUMN,x
        iny
        inx
        inx
        cpy #BLOCK_SIZE - 1
        bne @letter

        ldx #help_texts
        lda editing
        beq @help
        ldx #edit_texts
@help:  call draw_texts
        lda editing
        bne @done
        lda view
        beq @done
        ldx #inside_help
        call draw_texts
@done:  jmp drawn
.endproc

; Draw the tokens made each second.
;   IN        rate
;   OUT       picture
;   CLOBBERS  A X Y dividend divisor
;   CLOCKS    9,700
routine draw_rate, 16, 16
        lda rate
        jsr digit               ; from right to left
        stx picture + BOTTOM * LINE + 19 * COLUMN
        ldx #'.' - ' '
        stx picture + BOTTOM * LINE + 18 * COLUMN
        jsr digit
        stx picture + BOTTOM * LINE + 17 * COLUMN
        tax                     ; no tens: a blank, tile 0
        beq @tens
        jsr digit
@tens:  stx picture + BOTTOM * LINE + 16 * COLUMN
        rts

digit:  sta dividend            ; A: A / 10; X: the tile of the rest
        stz dividend + 2
        lda #10
        sta divisor
        call divide
        pha
        txa
        clc
        adc #'0' - ' '
        tax
        pla
        rts
.endproc

; Draw what the model attends to, and how likely it finds each token.
;   IN        context, position, attention, probs, chosen
;   OUT       picture
;   CLOBBERS  A X Y colour place height number bar_of
;   CLOCKS    95,000; turbo: 138,000
routine draw_inside, 16, 16
        stz number              ; the letters read, then the one chosen
        ldy #4 * LINE + 9 * COLUMN
@letter:
        lda number
        cmp position
        beq @read
        bcs @none
@read:  asl
        tax
        lda context,x
        ldx #WHITE
        jsr letter
        bra @next
@none:  dec
        cmp position
        bne @blank
        lda chosen
        bmi @blank
        ldx #GOLD
        jsr letter
        bra @next
@blank: lda #0
        sta picture,y
@next:  tya
        clc
        adc #2 * SPACING
        tay
        inc number
        lda number
        cmp #BLOCK_SIZE + 1
        bne @letter

        lda #TEAL
        sta colour
        lda #6 * LINE + 9 * COLUMN
        sta place
        stz bar_of              ; the head's attention
@head:  stz number
        ldx place
@weight:
        lda number
        cmp position
        beq @seen
        lda #0
        bcs @bar
@seen:  lda number
        asl
        adc bar_of
        tay
        lda attention,y         ; 32768 = 1: 14 lines of two tiles, for a gap below the next head
        lsr
        lsr
        lsr
        eor #$FFFF
        sec
        adc attention,y         ; 7/8 of it; the carry is set
        adc #1023
        xba
        and #$00FF
        lsr
        lsr
        lsr
@bar:   ldy #2
        jsr bar
        txa
        clc
        adc #2 * 64 + 2 * SPACING
        tax
        inc number
        lda number
        cmp #BLOCK_SIZE
        bne @weight
        lda place
        clc
        adc #2 * 64
        sta place
        lda bar_of
        adc #2 * BLOCK_SIZE
        sta bar_of
        cmp #2 * BLOCK_SIZE * N_HEAD
        bne @head

        stz number
        ldx #18 * LINE + 2 * COLUMN
@prob:  lda number
        cmp chosen
        bne @common
        lda #RED
        sta colour
        ldy #BRIGHT
        bra @label
@common:
        lda #GREEN
        sta colour
        ldy #GREY
@label: sty place
        lda picture + LINE,x    ; its letter
        and #$03FF
        ora place
        sta picture + LINE,x
        lda number
        asl
        tay
        lda probs,y
        clc
        adc #512                ; 32768 = 1: four tiles, 32 lines
        xba
        and #$00FF
        lsr
        lsr
        ldy #4
        jsr bar
        txa
        clc
        adc #4 * 64 + 2
        tax
        inc number
        lda number
        cmp #VOCAB_SIZE
        bne @prob
        rts

letter: cmp #BOS                ; A: a token, X: its colour, Y: its place
        bne @common
        lda #END - 'a'
@common:
        stx colour
        clc
        adc #'a' - ' '
        ora colour
        sta picture,y
        rts

bar:    sta height              ; A: lines, X: the place at the bottom, Y: its tiles, upward
@tile:  lda height
        cmp #8
        bcs @full
        stz height
        adc #TILE_BAR           ; the carry is clear
@draw:  ora colour
        sta picture,x
        txa
        sbc #LINE - 1           ; it still is
        tax
        dey
        bne @tile
        rts
@full:  sbc #8
        sta height
        lda #TILE_BAR + 8
        clc
        bra @draw
.endproc
