; The game: twenty names, one token after another, and what the pad and the mailbox ask for.

        .include "snes.inc"
        .export probs, names, context, prefix

N_NAMES      = 20
NAME_SIZE    = BLOCK_SIZE + 2   ; letters, and a 0 at least
SLOW         = 30               ; frames a token, when it is to be watched
N_TEMPERATURES = 15

; What the mailbox can ask for.
ASK_HALT     = 1                ; stop generating, wait
ASK_RESET    = 2                ; gpt_reset
ASK_STEP     = 3                ; gpt_step on `argument`, a token
ASK_LIST     = 4                ; make a list of names from the settings as they stand
ASK_CALL     = 5                ; call the routine at `argument`, with registers, and time it

        .segment "ZEROPAGE"
seed:          .res 2
temperature:   .res 2           ; 0 to 14: 0.1 to 1.5
prefix_length: .res 2
speed:         .res 2           ; 0: fast, 1: slow
view:          .res 2           ; 0: names, 1: inside the model
watched:       .res 2           ; not 0: a program watches: compute what only the view would show
name_number:   .res 2
chosen:        .res 2           ; the token that comes next
drawn:         .res 2           ; the random number it was chosen by
list_frame:    .res 2           ; when the list began
list_tokens:   .res 2           ; tokens since
token_frame:   .res 2
turn:          .res 2           ; 0: go on; 1: begin a new list; 2: wait
editing:       .res 2           ; 0: no; 1: the prefix; 2 and up: a digit of the seed
buttons:       .res 2
name_letter:   .res 2           ; where the next letter of the name goes

        .segment "MAILBOX"
        .export command, argument, registers, beam, tokens_done
command:       .res 2           ; written by whoever watches; 0 again when it is done
argument:      .res 2
registers:     .res 8           ; A X Y P, before and after a call
beam:          .res 12          ; frames, V, H before a call; frames, V, H after it
tokens_done:   .res 2           ; records written since power on

        .segment "BSS"
probs:         .res 2 * VOCAB_SIZE
names:         .res N_NAMES * NAME_SIZE
context:       .res 2 * BLOCK_SIZE     ; the tokens read
prefix:        .res 2 * BLOCK_SIZE     ; as tokens
old_prefix:    .res 2 * BLOCK_SIZE
old_length:    .res 2

        .segment "RING"
        .export ring
RECORD       = 128              ; bytes
N_RECORDS    = 64
ring:          .res RECORD * N_RECORDS ; token, position, chosen, drawn, temperature, seed; logits; probs

        .segment "DIRECTORY"    ; first in the file: how those who watch find their way
        .byte "MICROGPT"
        .byte CARTRIDGE         ; 8 characters
        .word 1, BLOCK_SIZE
        .addr command, argument, registers, beam, tokens_done, .loword(ring)
        .addr seed, temperature, prefix_length, prefix, speed, view, name_number, names
        .addr logits, probs, attention, residual, hidden, saturations, frames, watched
        .addr rate

        .segment "RODATA"
        .export temperatures
temperatures:  .incbin "temperatures.bin"

        .segment "CODE"

; Play, for ever.
;   CLOCKS    it never ends
routine play, 16, 16
        lda #$1990
        sta seed
        lda #4                  ; 0.5
        sta temperature
new_list:
        stz turn
        lda seed
        call seed_random
        stz name_number
        stz list_tokens
        ldx #N_NAMES * NAME_SIZE - 2
@clear: stz names,x
        dex
        dex
        bpl @clear
        lda frames
        sta list_frame
        sta token_frame
        call draw_all
new_name:
        call gpt_reset
        lda #BOS
        sta token
        lda name_number
        sta mul_a
        lda #NAME_SIZE
        sta mul_b
        call mul16u
        lda product
        clc
        adc #names
        sta name_letter
        call draw_name
new_token:
        call gpt_step
        call choose
        lda position            ; a prefix overrules the choice
        cmp prefix_length
        bcs @free
        asl
        tax
        lda prefix,x
        sta chosen
        bra @record
@free:  call random
        sta drawn
        call sample
        sta chosen
@record:
        call record
        inc list_tokens
        lda chosen
        cmp #BOS
        beq @shown
        adc #'a'                ; the carry is clear
        sta (name_letter)       ; and a 0 behind it
        inc name_letter
@shown: call draw_token
        call pace
        lda turn
        bne stop
        lda chosen
        cmp #BOS
        beq @name_done
        sta token
        inc position
        lda position
        cmp #BLOCK_SIZE
        beq @name_done
        jmp new_token
@name_done:
        inc name_number
        call draw_last_name
        lda name_number
        cmp #N_NAMES
        beq wait
        jmp new_name
wait:   call poll
        lda turn
        beq wait
stop:   cmp #1
        bne @halt
        jmp new_list
@halt:  stz turn
        bra wait
.endproc

; Turn logits into exponentials at the temperature: all that sampling takes. Probabilities are for
; those who look.
;   IN        logits, temperature, watched, view
;   OUT       exps, exp_sum; if watched or in view: probs; chosen, drawn: none yet
;   CLOBBERS  A X Y and what softmax does
;   CLOCKS    32,000; 57,000 if watched or in view
routine choose, 16, 16
        lda #$FFFF
        sta chosen
        stz drawn
        lda #logits
        sta softmax_in
        lda #probs
        sta softmax_out
        lda #VOCAB_SIZE
        sta softmax_count
        lda temperature
        asl
        tax
        lda temperatures,x
        sta softmax_scale
        lda watched
        ora view
        bne @all
        jmp exponentials
@all:   jmp softmax
.endproc

; Write down a token and how it came about, where those who watch can read it later.
;   IN        token, position, chosen, drawn, temperature, seed, logits, probs, watched
;   OUT       ring (logits and probs if watched), tokens_done; context: this token added
;   CLOBBERS  A X Y
;   CLOCKS    800; 6,000 if watched
routine record, 16, 16
        lda position
        asl
        tax
        lda token
        sta context,x
        lda tokens_done
        and #N_RECORDS - 1
        xba
        lsr                     ; * RECORD
        tax
        lda token
        sta f:ring,x
        lda position
        sta f:ring + 2,x
        lda chosen
        sta f:ring + 4,x
        lda drawn
        sta f:ring + 6,x
        lda temperature
        sta f:ring + 8,x
        lda seed
        sta f:ring + 10,x
        lda watched
        beq @done
        txa
        clc
        adc #.loword(ring) + 12
        tay
        phb
        ldx #logits
        lda #2 * VOCAB_SIZE - 1
        mvn #$00, #$7E
        ldx #probs
        lda #2 * VOCAB_SIZE - 1
        mvn #$00, #$7E
        plb
@done:  inc tokens_done
        rts
.endproc

; Look after pad and mailbox until it is time for the next token.
;   IN        speed, token_frame
;   OUT       turn; token_frame: now
;   CLOBBERS  A X Y
;   CLOCKS    what is to be waited for
routine pace, 16, 16
@wait:  call poll
        lda turn
        bne @done
        lda speed
        beq @done
        lda frames
        sec
        sbc token_frame
        cmp #SLOW
        bcc @wait
@done:  lda frames
        sta token_frame
        rts
.endproc

; Take the buttons pressed since the last time.
;   IN        pad_pressed
;   OUT       A, buttons
;   CLOBBERS  A pad_pressed
;   CLOCKS    50
routine take_buttons, 16, 16
        lda pad_pressed
        sta buttons
        trb pad_pressed         ; one instruction: an interrupt's new button is not lost
        rts
.endproc

; Do what pad and mailbox ask for.
;   IN        command, pad_pressed
;   OUT       turn: not 0 if the list is to begin again, or to stop
;   CLOBBERS  anything
;   CLOCKS    100; more if there is something to do
routine poll, 16, 16
        lda command
        beq @pad
        jmp answer
@pad:   call take_buttons
        bne @pressed
        rts
@pressed:
        bit #PAD_START
        beq @no_start
        lda frames              ; a seed that nobody chose: the moment of pressing
        eor prng_y
        sta seed
        bra @again
@no_start:
        bit #PAD_UP
        beq @no_up
        lda temperature
        cmp #N_TEMPERATURES - 1
        bcs @done
        inc temperature
        bra @again
@no_up: bit #PAD_DOWN
        beq @no_down
        lda temperature
        beq @done
        dec temperature
        bra @again
@no_down:
        bit #PAD_SELECT
        beq @no_select
        lda view
        eor #1
        sta view
        beq @draw
        lda chosen              ; compute the last token again: this time all of it is to be seen
        pha
        lda drawn
        pha
        call gpt_step
        call choose
        pla
        sta drawn
        pla
        sta chosen
@draw:  jmp draw_all
@no_select:
        bit #PAD_L
        beq @no_l
        lda #1
        sta speed
        jmp draw_status
@no_l:  bit #PAD_R
        beq @no_r
        stz speed
        jmp draw_status
@no_r:  bit #PAD_A | PAD_X
        beq @done
        tax
        lda frames
        sec
        sbc list_frame
        pha                     ; the list's time so far: typing is none of it
        txa
        bit #PAD_A
        beq @seed
        call edit_prefix
        bra @typed
@seed:  call edit_seed
@typed: lda frames
        sec
        sbc 1,s
        sta list_frame
        pla
        rts
@again: lda #1
        sta turn
@done:  rts
.endproc

; Let the pad turn the letters of the prefix.
;   OUT       prefix, prefix_length; turn: 1 if it is to be completed
;   CLOBBERS  anything
;   CLOCKS    as many as its player takes
routine edit_prefix, 16, 16
        ldx #2 * BLOCK_SIZE - 2
@keep:  lda prefix,x
        sta old_prefix,x
        dex
        dex
        bpl @keep
        lda prefix_length
        sta old_length
        lda #1
        sta editing
@draw:  call draw_status
@next:  wai
        call take_buttons
        beq @next
        bit #PAD_B
        beq @no_b
        ldx #2 * BLOCK_SIZE - 2
@back:  lda old_prefix,x
        sta prefix,x
        dex
        dex
        bpl @back
        lda old_length
        sta prefix_length
        bra @done
@no_b:  bit #PAD_START | PAD_A
        beq @turn
        lda #1
        sta turn
@done:  stz editing
        jmp draw_status
@turn:  bit #PAD_LEFT
        beq @no_left
        lda prefix_length
        beq @next
        dec prefix_length
        bra @draw
@no_left:
        ldx prefix_length       ; the first letter: any direction begins it
        beq @append
        bit #PAD_RIGHT
        beq @no_right
        cpx #BLOCK_SIZE - 1     ; one token at least is the model's
        bcs @next
@append:
        txa
        inc prefix_length
        asl
        tax
        stz prefix,x
        bra @draw
@no_right:
        dex
        sta buttons
        txa
        asl
        tax
        lda buttons
        bit #PAD_UP
        beq @no_up
        lda prefix,x
        inc
        cmp #BOS
        bcc @set
        lda #0
@set:   sta prefix,x
        bra @draw
@no_up: bit #PAD_DOWN
        beq @next
        lda prefix,x
        dec
        bpl @set
        lda #BOS - 1
        bra @set
.endproc

; Let the pad turn the digits of the seed.
;   OUT       seed; turn: 1 if its names are to be made
;   CLOBBERS  anything
;   CLOCKS    as many as its player takes
routine edit_seed, 16, 16
        lda seed
        pha
        lda #2                  ; the first digit
        sta editing
@draw:  call draw_status
@next:  wai
        call take_buttons
        beq @next
        bit #PAD_B
        beq @no_b
        pla
        sta seed
        bra @done
@no_b:  bit #PAD_START | PAD_X
        beq @turn
        pla
        lda #1
        sta turn
@done:  stz editing
        jmp draw_status
@turn:  bit #PAD_LEFT
        beq @no_left
        lda editing
        cmp #2
        beq @next
        dec editing
        bra @draw
@no_left:
        bit #PAD_RIGHT
        beq @no_right
        lda editing
        cmp #5
        beq @next
        inc editing
        bra @draw
@no_right:
        bit #PAD_UP
        beq @no_up
        lda #1
        bra @rotate
@no_up: bit #PAD_DOWN
        beq @next
        lda #15
@rotate:
        sta buttons             ; added to the digit alone: bring it to the lowest place and back
        ldx #1
@to:    jsr left_4
        inx
        cpx editing
        bne @to
        lda seed
        pha
        and #$FFF0
        sta seed
        pla
        clc
        adc buttons
        and #$000F
        tsb seed
        ldx editing
@from:  cpx #5
        beq @draw
        jsr left_4
        inx
        bra @from

left_4: ldy #4                  ; turn the seed left by a digit
@bit:   lda seed
        asl
        adc #0                  ; what leaves comes back below
        sta seed
        dey
        bne @bit
        rts
.endproc

; Do what the mailbox asks for, and say that it is done. The list at work is given up.
;   IN        command, argument, registers
;   OUT       command: 0; turn
;   CLOBBERS  anything
;   CLOCKS    those of what is asked for
routine answer, 16, 16
        ldx #2
        stx turn
        cmp #ASK_RESET
        bne @no_reset
        call gpt_reset
        bra @done
@no_reset:
        cmp #ASK_STEP
        bne @no_step
        lda argument
        sta token
        call gpt_step
        call choose
        call record
        inc position
        bra @done
@no_step:
        cmp #ASK_LIST
        bne @no_list
        dec turn
        bra @done
@no_list:
        cmp #ASK_CALL
        bne @done
        inc quiet
        lda frames
@fresh: cmp frames              ; begin just after a frame did: what is short is not interrupted
        beq @fresh
        ldx #0
        jsr read_beam
        ldx registers + 2
        ldy registers + 4
        pea @returned - 1
        lda registers
        jmp (argument)
@returned:
        php
        ai16
        sta registers
        stx registers + 2
        sty registers + 4
        a8
        pla
        sta registers + 6
        a16
        ldx #6
        jsr read_beam
        stz quiet
@done:  stz command
        rts

read_beam:                      ; the counters give 9 bits in two reads: lower 8, then the last
        a8
        lda STAT78              ; begin with the lower
        lda SLHV
        lda OPHCT
        sta beam + 4,x
        lda OPHCT
        and #1
        sta beam + 5,x
        lda OPVCT
        sta beam + 2,x
        lda OPVCT
        and #1
        sta beam + 3,x
        a16
        lda frames
        sta beam,x
        rts
.endproc
