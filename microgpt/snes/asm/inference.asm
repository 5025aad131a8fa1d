; The game: twenty names, one token after another, and what the pad and the mailbox ask for.

        .include "snes.inc"
        .export probs, names, context, prefix

N_NAMES      = 20
NAME_SIZE    = BLOCK_SIZE + 2   ; letters, and a 0 at least
SLOW         = 30               ; frames a token, when it is to be watched
STEP         = 2                ; the speed at which each token is asked for
N_TEMPERATURES = 15

; What the mailbox can ask for.
ASK_HALT     = 1                ; stop generating, wait
ASK_RESET    = 2                ; begin at position 0
ASK_STEP     = 3                ; gpt_step on `argument`, a token, at the next position
ASK_LIST     = 4                ; make a list of names from the current settings
ASK_CALL     = 5                ; call the routine at `argument`, with registers, and time it

        .segment "ZEROPAGE"
seed:          .res 2
temperature:   .res 2           ; 0 to 14: 0.1 to 1.5
prefix_length: .res 2
speed:         .res 2           ; 0: fast, 1: slow, 2: a token each time that Y is pressed
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
pressed:       .res 2           ; buttons taken from the queue, not yet looked at
opener:        .res 2           ; the button that began the editing
asked:         .res 2           ; tokens that Y asked for
next:          .res 2           ; the position of ASK_STEP
name_letter:   .res 2           ; where the next letter of the name goes

        .segment "MAILBOX"
        .export command, argument, registers, beam, tokens_done
command:       .res 2           ; written by an observer; 0 again when it is done
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
old_seed:      .res 2

        .segment "RING"
        .export ring
RECORD       = 128              ; bytes
N_RECORDS    = 64
; A record: token, position, chosen, drawn, temperature, seed; logits; probs.
ring:          .res RECORD * N_RECORDS

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
digits:        .word $F000, $0F00, $00F0, $000F ; of the seed ...
units:         .word $1000, $0100, $0010, $0001 ; ... and what turns each by one

        .segment "CODE"

; Play, for ever.
;   IN        frames count up
;   OUT       -
;   CLOBBERS  anything
;   CLOCKS    it never ends
routine play, 16, 16
        lda #$1990
        sta seed
        lda #4                  ; 0.5
        sta temperature
new_list:
        stz turn
        stz asked
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
        ldx position
        inx
        cpx #BLOCK_SIZE
        beq @name_done          ; token and position stay those of the last step: SELECT repeats it
        sta token
        stx position
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
;   IN        speed, asked, token_frame
;   OUT       turn; token_frame: now; list_frame: later by the time that Y was waited for
;   CLOBBERS  A X Y asked
;   CLOCKS    what is to be waited for
routine pace, 16, 16
@wait:  call poll
        lda turn
        bne @done
        lda speed
        beq @done
        cmp #STEP
        beq @step
        lda frames
        sec
        sbc token_frame
        cmp #SLOW
        bcc @wait
@done:  lda frames
        sta token_frame
        rts

@step:  lda frames
        sec
        sbc list_frame
        pha                     ; the list's time so far: waiting for Y is none of it
@rest:  lda asked
        beq @poll
        dec asked
        bra @on
@poll:  call poll
        lda turn
        bne @on
        lda speed
        cmp #STEP
        beq @rest
@on:    lda frames
        sec
        sbc 1,s
        sta list_frame
        pla
        bra @done
.endproc

; Take the next press.
;   IN        pad_queue, pad_put, pad_taken, pressed
;   OUT       A: one button, as in JOY1, or 0, and the zero flag with it
;   CLOBBERS  A X pad_taken pressed
;   CLOCKS    220; 140 if there is none
routine take_press, 16, 16
        lda pressed             ; of buttons that went down together, one after another
        bne @one
        ldx pad_taken
        cpx pad_put
        beq @none
        lda pad_queue,x
        sta pressed
        inx
        inx
        cpx #PAD_QUEUE
        bne @room
        ldx #0
@room:  stx pad_taken
        lda pressed
@one:   dec
        eor pressed
        and pressed             ; the lowest bit that is set
        trb pressed
@none:  rts
.endproc

; Do what pad and mailbox ask for.
;   IN        command, pad_queue
;   OUT       turn: not 0 if the list is to begin again, or to stop
;   CLOBBERS  anything
;   CLOCKS    200; more if there is something to do
routine poll, 16, 16
        lda command
        bne @answer
        lda pad_put
        cmp pad_taken
        beq @done
@next:  call take_press
        beq @done
        call obey
        bra @next
@answer:
        jmp answer
@done:  rts
.endproc

; Do what a button says.
;   IN        A: the button
;   OUT       turn: 1 if the list is to begin again
;   CLOBBERS  anything
;   CLOCKS    180,000 at most, but for SELECT, which computes a token, and for what a player takes
routine obey, 16, 16
        cmp #PAD_START
        beq @start
        cmp #PAD_UP
        beq @up
        cmp #PAD_DOWN
        beq @down
        cmp #PAD_SELECT
        beq @select
        cmp #PAD_Y
        beq @step
        cmp #PAD_L
        beq @slow
        cmp #PAD_R
        beq @fast
        bit #PAD_A | PAD_X
        beq @done
        jmp edit

@start: lda frames              ; a seed that nobody chose: the moment of pressing
        eor prng_y
        sta seed
        bra @again
@up:    lda temperature
        cmp #N_TEMPERATURES - 1
        bcs @done
        inc temperature
        bra @again
@down:  lda temperature
        beq @done
        dec temperature
@again: lda #1
        sta turn
@done:  rts

@step:  lda #STEP
        cmp speed
        bne @speed
        inc asked
        rts
@slow:  lda #1
        bra @speed
@fast:  lda #0
@speed: sta speed
        stz asked
        jmp draw_status

@select:
        lda view
        eor #1
        sta view
        ldx turn
        bne @done               ; the new list will draw it
        tax
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
.endproc

; Let the pad change the prefix or the seed until it is taken, or given back with B.
;   IN        A: the button that began it, which also ends it: PAD_A for the prefix, PAD_X for the
;             seed
;   OUT       prefix, prefix_length; seed; turn: 1 if names are to be made of them; list_frame:
;             later by the time that it took
;   CLOBBERS  anything
;   CLOCKS    as many as its player takes
routine edit, 16, 16
        sta opener
        ldx #1                  ; the prefix
        cmp #PAD_A
        beq @begin
        inx                     ; the first digit
@begin: stx editing
        lda frames
        sec
        sbc list_frame
        pha                     ; the list's time so far: typing is none of it
        lda seed
        sta old_seed
        lda prefix_length
        sta old_length
        ldx #2 * BLOCK_SIZE - 2
@keep:  lda prefix,x
        sta old_prefix,x
        dex
        dex
        bpl @keep

@draw:  call draw_status
@next:  call take_press
        bne @pressed
        wai
        bra @next
@pressed:
        cmp #PAD_B
        beq @back
        cmp #PAD_START
        beq @take
        cmp opener
        beq @take
        ldx editing
        dex
        bne @seed
        call turn_prefix
        bra @draw
@seed:  call turn_seed
        bra @draw

@back:  lda old_seed
        sta seed
        lda old_length
        sta prefix_length
        ldx #2 * BLOCK_SIZE - 2
@keep_not:
        lda old_prefix,x
        sta prefix,x
        dex
        dex
        bpl @keep_not
        bra @done
@take:  lda #1
        sta turn
@done:  stz editing
        lda frames
        sec
        sbc 1,s
        sta list_frame
        pla
        jmp draw_status
.endproc

; Turn, add or take a letter of the prefix.
;   IN        A: a button
;   OUT       prefix, prefix_length
;   CLOBBERS  A X Y
;   CLOCKS    300
routine turn_prefix, 16, 16
        ldx prefix_length
        cmp #PAD_LEFT
        beq @left
        bit #PAD_RIGHT | PAD_UP | PAD_DOWN
        beq @done
        cpx #0
        beq @append             ; the first letter: any direction begins it
        cmp #PAD_RIGHT
        beq @right
        tay
        dex
        txa
        asl
        tax
        lda prefix,x
        cpy #PAD_UP
        beq @up
        dec
        bpl @set
        lda #BOS - 1
        bra @set
@up:    inc
        cmp #BOS
        bcc @set
        lda #0
@set:   sta prefix,x
@done:  rts

@left:  cpx #0
        beq @done
        dec prefix_length
        rts
@right: cpx #BLOCK_SIZE - 1     ; one token at least is the model's
        bcs @done
@append:
        inc prefix_length
        txa
        asl
        tax
        stz prefix,x
        rts
.endproc

; Turn a digit of the seed, or go to the next.
;   IN        A: a button; editing: 2 to 5
;   OUT       seed, editing
;   CLOBBERS  A X Y
;   CLOCKS    400
routine turn_seed, 16, 16
        tay
        lda editing
        cpy #PAD_LEFT
        beq @left
        cpy #PAD_RIGHT
        beq @right
        asl
        tax
        lda seed
        cpy #PAD_UP
        beq @up
        cpy #PAD_DOWN
        bne @done
        sec
        sbc units - 2 * 2,x
        bra @set
@up:    clc
        adc units - 2 * 2,x
@set:   eor seed                ; of what changed, keep the digit: no other is carried into
        and digits - 2 * 2,x
        eor seed
        sta seed
@done:  rts

@left:  cmp #2
        beq @done
        dec editing
        rts
@right: cmp #5
        beq @done
        inc editing
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
        stz next
        bra @done
@no_reset:
        cmp #ASK_STEP
        bne @no_step
        lda next
        cmp #BLOCK_SIZE
        bcs @done               ; the block is full
        sta position
        inc next
        lda argument
        sta token
        call gpt_step
        call choose
        call record
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
