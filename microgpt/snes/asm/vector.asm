; Linear algebra of the classic cartridge: vectors of Q8.8 numbers, 16 bits each.

        .include "snes.inc"
        .export vector_in
        .globalzp matrix, bias, rows, columns, destination

        .segment "ZEROPAGE"
matrix:        .res 2           ; the row of weights at hand
bias:          .res 2           ; its constant
rows:          .res 2
columns:       .res 2           ; in bytes, less 2: the offset of a row's last weight
destination:   .res 2
acc_low:       .res 4
acc_high:      .res 4
square_sum:    .res 4
source:        .res 2
scale:         .res 2
steps:         .res 2
place:         .res 2
saturations:   .res 2           ; results clamped to -128 or 127.996 since power on

        .segment "BSS"
        .align $80              ; in one page: an index that leaves it would take a cycle more
vector_in:     .res 2 * N_HIDDEN

        .segment "CODE"

; Multiply a matrix and a vector: one dot product for each row of weights.
;
; The multiplier knows 8 bits without sign. So x is stored as x' = x + 128.0, never negative, and
; the sum is too large by 128.0 times the row's weights: a constant, taken off at the end. A weight
; is low + 256 * high, with high 0 or -1 where |w| < 1: then two multiplications do.
;   IN        X: address of the vector; destination; matrix, bias, rows, columns
;   OUT       (destination): rows numbers, each (sum + 128) >> 8, clamped to 16 bits
;   CLOBBERS  A X Y matrix bias rows destination acc_low acc_high saturations vector_in
;   CLOCKS    191,000 for 16 x 16 weights: 750 each
routine linear, 16, 16
        ldy #0
@offset:
        lda a:0,x
        eor #$8000              ; + 32768
        sta vector_in,y
        inx
        inx
        cpy columns
        iny
        iny
        bcc @offset
@row:   call dot
        sta (destination)
        inc destination
        inc destination
        lda bias
        clc
        adc #4
        sta bias
        lda columns
        adc #2                  ; the carry is clear: tables end before $FFFF
        adc matrix
        sta matrix
        dec rows
        bne @row
        rts
.endproc

; Multiply one row of weights and vector_in. The direct page, which may lie anywhere in bank 0, is
; laid over the row: so a weight takes the shortest addressing there is, our variables the longer.
;   IN        matrix: address of the row; bias: address of its 32-bit constant; columns; vector_in
;   OUT       A: the sum, Q8.8
;   CLOBBERS  A X Y acc_low acc_high saturations
;   CLOCKS    11,300 for 16 weights, 700 each
routine dot, 16, 16
        stz acc_low
        stz acc_low + 2
        stz acc_high
        stz acc_high + 2
        ldx columns
        lda matrix
        tcd
        i8
@next:  ldy z:0,x               ; w.low ...
        sty WRMPYA
        ldy vector_in,x
        sty WRMPYB              ; ... * x'.low
        ldy z:1,x               ; meanwhile, 5 cycles: w.high
        bne @high
@add:   lda RDMPY               ; 2 cycles more, and 3 before it reads: the product is ready
        ldy vector_in + 1,x
        sty WRMPYB              ; w.low * x'.high
        clc
        adc a:acc_low
        sta a:acc_low
        bcc @no_carry
        inc a:acc_low + 2
@no_carry:
        clc
        lda a:acc_high
        adc RDMPY
        sta a:acc_high
        bcc @on
        inc a:acc_high + 2
@on:    dex
        dex
        bpl @next
        jmp @sum

@high:  cpy #$FF
        bne @large
        lda a:acc_high          ; w.high = -1: take x' off
        sec
        sbc vector_in,x
        sta a:acc_high
        bcs @add
        dec a:acc_high + 2
        bra @add
@large: sty WRMPYA              ; |w| >= 1, rare: two multiplications more, by w.high
        ldy vector_in,x
        sty WRMPYB
        lda a:acc_high
        clc
        adc RDMPY
        sta a:acc_high
        bcc @large_high
        inc a:acc_high + 2
@large_high:
        ldy vector_in + 1,x
        sty WRMPYB
        lda a:acc_high + 1
        clc
        adc RDMPY
        sta a:acc_high + 1
        bcc @large_sign
        ldy a:acc_high + 3
        iny
        sty a:acc_high + 3
@large_sign:
        ldy z:1,x
        bpl @large_low
        lda a:acc_high + 1      ; w.high was read as 256 too large
        sec
        sbc vector_in,x
        sta a:acc_high + 1
        bcs @large_low
        ldy a:acc_high + 3
        dey
        sty a:acc_high + 3
@large_low:
        ldy z:0,x               ; now w.low * x'.low again, where @add expects it
        sty WRMPYA
        ldy vector_in,x
        sty WRMPYB
        nop
        jmp @add

@sum:   lda #0
        tcd
        i16
        clc                     ; sum = low + (high << 8) + bias, of which we need the upper 24 bits
        lda acc_low
        adc (bias)
        sta acc_low
        ldy #2
        lda acc_low + 2
        adc (bias),y
        sta acc_low + 2
        clc
        lda acc_low + 1
        adc acc_high
        sta acc_low + 1
        a8
        lda acc_low + 3
        adc acc_high + 2
        sta acc_low + 3
        lda acc_low + 2         ; clamp: the top byte must repeat the sign of the two below
        asl
        lda acc_low + 3
        adc #0
        a16
        bne @clamp
        lda acc_low + 1
        rts
@clamp: inc saturations
        lda acc_low + 2
        asl
        lda #$7FFF
        adc #0                  ; $8000 if the sum was negative
        rts
.endproc

; Add two vectors of N_EMBD numbers, each sum clamped to 16 bits.
;   IN        X, Y: their addresses; destination
;   OUT       (destination)
;   CLOBBERS  A X Y destination place saturations
;   CLOCKS    6,100
routine add_vectors, 16, 16
        lda #N_EMBD
        sta place
@next:  lda a:0,x
        clc
        adc a:0,y
        bvc @fits
        inc saturations
        eor #$8000              ; the sign is the other one
        asl
        lda #$7FFF
        adc #0                  ; $8000 if the sum was negative
@fits:  sta (destination)
        inc destination
        inc destination
        inx
        inx
        iny
        iny
        dec place
        bne @next
        rts
.endproc

; Scale a vector to a mean square of 1. With mean = m * 4^k and m in 2^14 to 2^16, 1 / sqrt(mean) is
; a table's entry for m, shifted right by k.
;   IN        X: address of the vector; destination
;   OUT       (destination): N_EMBD numbers
;   CLOBBERS  A X Y mul_a mul_b product destination source square_sum scale steps place saturations
;   CLOCKS    56,500
routine rmsnorm, 16, 16
        stx source
        stz square_sum
        stz square_sum + 2
        ldy #0
@square:
        sty place
        lda (source),y
        bpl @positive
        eor #$FFFF
        inc
@positive:
        sta mul_a
        sta mul_b
        call mul16u
        lda product
        clc
        adc square_sum
        sta square_sum
        lda product + 2
        adc square_sum + 2
        bcc @fits
        inc saturations         ; more than 2^32: take 2^32 - 1
        lda #$FFFF
        sta square_sum
@fits:  sta square_sum + 2
        ldy place
        iny
        iny
        cpy #2 * N_EMBD
        bne @square

        ldx #4                  ; mean = sum / 16 + 1: eps, 1e-5, is 0.66 of the last place
@mean:  lsr square_sum + 2
        ror square_sum
        dex
        bne @mean
        inc square_sum
        bne @no_carry
        inc square_sum + 2
@no_carry:
        ldx #7                  ; k + 7
        lda square_sum
        bra @enter
@lower: lsr square_sum + 2      ; mean / 4
        ror
        lsr square_sum + 2
        ror
        inx
@enter: ldy square_sum + 2
        bne @lower
@raise: cmp #$4000
        bcs @found
        asl                     ; mean * 4
        asl
        dex
        bra @raise
@found: stx steps
        xba                     ; the upper 8 bits of m, 64 to 255, find the entry
        and #$00FF
        asl
        tax
        lda rsqrt_table,x
        sta scale

        ldy #0
@scale: sty place
        lda (source),y
        bpl @magnitude
        eor #$FFFF
        inc
@magnitude:
        sta mul_a
        lda scale
        sta mul_b
        call mul16u
        lda product
        ldx steps
        beq @round
@shift: lsr product + 2
        ror
        dex
        bne @shift
@round: clc
        adc #128
        sta product
        bcc @signed
        inc product + 2
@signed:
        ldy place
        lda (source),y
        asl
        lda product + 1
        bcc @store
        eor #$FFFF
        inc
@store: sta (destination)
        inc destination
        inc destination
        iny
        iny
        cpy #2 * N_EMBD
        bne @scale
        rts
.endproc

; Replace the negative numbers of a vector by 0.
;   IN        X: address of the vector; Y: its length in bytes
;   OUT       the vector
;   CLOBBERS  A X Y
;   CLOCKS    8,200 for 64 numbers
routine relu, 16, 16
@next:  lda a:0,x
        bpl @on
        stz a:0,x
@on:    inx
        inx
        dey
        dey
        bne @next
        rts
.endproc
