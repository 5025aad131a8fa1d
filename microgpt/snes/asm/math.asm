; Numbers: multiply, divide, softmax, random. Both cartridges use these; integers/base.py defines
; what each must return, bit for bit.

        .include "snes.inc"

        .segment "ZEROPAGE"
mul_a:         .res 2
mul_b:         .res 2
product:       .res 4
dividend:      .res 4
divisor:       .res 2
prng_x:        .res 2
prng_y:        .res 2
prng_t:        .res 2
softmax_in:    .res 2
softmax_out:   .res 2
softmax_count: .res 2
softmax_scale: .res 2
exp_sum:       .res 4
largest:       .res 2
index:         .res 2
reach:         .res 2           ; the largest max - z whose exponential is not 0 ...
reach_scale:   .res 2           ; ... at this scale
scale_low:     .res 1
scale_high:    .res 2
fraction:      .res 2           ; d, of which the lower 8 bits are a fraction
halvings:      .res 2
shift:         .res 2
threshold:     .res 4

        .segment "BSS"
        .export exps
exps:          .res 2 * 32

        .segment "RODATA"
        .export exp_table, rsqrt_table
exp_table:     .incbin "exp.bin"       ; 256 words: 65535 * 2^(-i/256)
rsqrt_table:   .incbin "rsqrt.bin"     ; 256 words: 2^23 / sqrt(256 i + 128)

        .segment "CODE"

; Multiply two unsigned 16-bit numbers: four products of 8 bits, added where they belong.
;   IN        mul_a, mul_b
;   OUT       product: 32 bits
;   CLOBBERS  A X Y
;   CLOCKS    700
routine mul16u, 16, 16
        i8
        ldx mul_a
        stx WRMPYA
        ldy mul_b
        sty WRMPYB              ; a.lo * b.lo
        ldy mul_b + 1           ; 3 cycles of the 8 that it needs
        stz product + 2         ; 4; the load below takes 3 more before it reads
        lda RDMPY
        sty WRMPYB              ; a.lo * b.hi
        sta product             ; 4
        lda product + 1         ; 4
        clc
        adc RDMPY               ; at most 254 + 255 * 255: no carry
        ldx mul_a + 1
        stx WRMPYA
        sty WRMPYB              ; a.hi * b.hi
        sta product + 1
        ldy mul_b
        lda product + 2
        adc RDMPY               ; the carry is still clear, and clear it stays
        sty WRMPYB              ; a.hi * b.lo
        sta product + 2
        lda product + 1
        clc
        adc RDMPY
        sta product + 1
        bcc @done
        ldx product + 3
        inx
        stx product + 3
@done:  i16
        rts
.endproc

; Multiply two signed 16-bit numbers. Read as unsigned, a negative number is 65536 too large; so the
; product is too large by the other factor, in its upper half.
;   IN        mul_a, mul_b
;   OUT       product: 32 bits, signed
;   CLOBBERS  A X Y
;   CLOCKS    930; 1,050 at most
routine mul16s, 16, 16
        call mul16u
        lda product + 2
        bit mul_a
        bpl @a_positive
        sec
        sbc mul_b
@a_positive:
        bit mul_b
        bpl @b_positive
        sec
        sbc mul_a
@b_positive:
        sta product + 2
        rts
.endproc

; Divide 32 bits by 16, all unsigned, as on paper: a bit of the quotient at a time.
;   IN        dividend: 32 bits; divisor
;   OUT       A: the quotient, or 65535 if it is larger; X: the remainder
;   CLOBBERS  A X dividend
;   CLOCKS    3,100
routine divide, 16, 16
        lda dividend + 2        ; what remains so far
        cmp divisor
        bcs @too_large
        ldx #16
@bit:   asl dividend            ; the quotient moves in where the dividend moves out
        rol
        bcs @fits               ; a 17th bit: larger than any divisor
        cmp divisor
        bcc @next
@fits:  sbc divisor             ; the carry is set on both ways here
        inc dividend
@next:  dex
        bne @bit
        tax
        lda dividend
        rts
@too_large:
        lda #$FFFF
        rts
.endproc

; Exponentials of numbers of any size: e^z = 2^(z log2 e), so with d = (max - z) * scale in 8.8
; fixed point, exp is 2^-(fraction of d) from a table, shifted right by the whole part of d.
;   IN        softmax_in: address of 16-bit signed numbers; softmax_count: how many, 32 at most;
;             softmax_scale: 256 log2(e) / temperature, 32 to 32639
;   OUT       exps: 65535 for the largest; exp_sum: their sum, 32 bits
;   CLOBBERS  A X Y dividend divisor largest index reach reach_scale scale_low scale_high fraction
;             halvings
;   CLOCKS    29,000 for 27 numbers
routine exponentials, 16, 16
        lda softmax_count
        dec
        asl
        sta index               ; of the last number
        tay
        lda #$8000
        sta largest
@compare:
        lda (softmax_in),y
        sec
        sbc largest
        bvc @no_overflow
        eor #$8000              ; the difference left 16 bits: its sign is the other one
@no_overflow:
        bmi @smaller
        lda (softmax_in),y
        sta largest
@smaller:
        dey
        dey
        bpl @compare

        lda softmax_scale
        cmp reach_scale
        beq reached             ; as it was the last time
        sta reach_scale
        lda #$FFFF              ; e is 0 from d = 2^12 on: if max - z > (2^20 - 1) / scale
        sta dividend
        lda #$000F
        sta dividend + 2
        lda softmax_scale
        sta divisor
        call divide
        sta reach
reached:
        a8
        lda softmax_scale       ; scale = 256 * high + low, low from -128 to 127, for the PPU
        sta scale_low
        asl
        lda softmax_scale + 1
        adc #0
        sta scale_high
        stz scale_high + 1
        a16
        stz exp_sum
        stz exp_sum + 2
        ldy index
each:   lda largest
        sec
        sbc (softmax_in),y      ; 0 to 65535: unsigned, so it cannot overflow
        cmp reach
        beq near
        bcs zero
near:   a8
        sta M7A
        xba
        sta M7A
        lda scale_low
        sta M7B
        a16
        lda MPY + 1             ; d = (max - z) * low / 256 + (max - z) * high
        ldx scale_high
        stx M7B                 ; its upper byte, 0, falls into M7C, without effect
        clc
        adc MPY
        sta fraction
        asl
        and #$1E00
        xba
        sta halvings            ; twice the whole part of d
        lda fraction
        and #$00FF
        asl
        tax
        lda exp_table,x
        ldx halvings
        jmp (halve,x)
        .repeat 15
            lsr
        .endrepeat
store:  sta exps,y
        clc
        adc exp_sum
        sta exp_sum
        bcc next
        inc exp_sum + 2
        bra next
zero:   lda #0
        sta exps,y
next:   dey
        dey
        bpl each
        rts
halve:  .repeat 16, i           ; where to enter the chain of shifts that ends at store, to pass i
            .addr store - i
        .endrepeat
.endproc

; Turn numbers of any size into probabilities.
;   IN        as exponentials; softmax_out: address of the results
;   OUT       (softmax_out): probabilities, 32768 = 1; exps, exp_sum: as exponentials
;   CLOBBERS  A X Y mul_a mul_b product dividend divisor largest index reach reach_scale scale_low
;             scale_high fraction halvings shift
;   CLOCKS    55,000 for 27 numbers
routine softmax, 16, 16
        call exponentials
        lda exp_sum + 2         ; p = e / sum = e * (2^31 / sum') >> 16 >> shift,
        sta dividend + 2        ; with sum' = sum >> shift in 16 bits
        lda exp_sum
        ldx #0
@narrow:
        ldy dividend + 2
        beq @narrowed
        lsr dividend + 2
        ror
        inx
        bra @narrow
@narrowed:
        stx shift
        sta divisor
        stz dividend
        lda #$8000
        sta dividend + 2
        call divide
        sta mul_b
        stz index
@scale: ldx index
        lda exps,x
        beq @scaled
        sta mul_a
        call mul16u
        lda product + 2
        ldx shift
        beq @scaled
@shift: lsr
        dex
        bne @shift
@scaled:
        ldy index
        sta (softmax_out),y
        iny
        iny
        sty index
        tya
        lsr
        cmp softmax_count
        bne @scale
        rts
.endproc

; Draw a 16-bit number: xorshift on two words, of period 2^32 - 1 (Marsaglia 2003).
;   IN        prng_x, prng_y: the state, not both 0
;   OUT       A: the number; prng_x, prng_y: the next state
;   CLOBBERS  A prng_t
;   CLOCKS    400
routine random, 16, 16
        lda prng_x
        asl
        asl
        asl
        asl
        asl
        eor prng_x
        sta prng_t
        lsr
        lsr
        lsr
        eor prng_t
        sta prng_t              ; t = x ^ (x << 5); t ^= t >> 3
        lda prng_y
        sta prng_x
        lsr
        eor prng_y
        eor prng_t
        sta prng_y              ; y ^= (y >> 1) ^ t
        rts
.endproc

; Start the random numbers of a seed.
;   IN        A: the seed
;   OUT       prng_x, prng_y
;   CLOBBERS  A X prng_t
;   CLOCKS    8,300
routine seed_random, 16, 16
        sta prng_x
        lda #$9E37
        sta prng_y
        ldx #16                 ; seeds that are alike begin alike: let them drift apart
@mix:   call random
        dex
        bne @mix
        rts
.endproc

; Sample: the first i at which the running sum of exps exceeds r / 65536 of the whole sum. There is
; always one, since the threshold is less than the sum.
;   IN        A: r, a random number; exps, exp_sum: softmax's
;   OUT       A: i
;   CLOBBERS  A X Y mul_a mul_b product threshold
;   CLOCKS    2,100, and 250 for each token before the one found
routine sample, 16, 16
        sta mul_a
        lda exp_sum + 2
        sta mul_b
        call mul16u
        lda product
        sta threshold
        lda product + 2
        sta threshold + 2
        lda exp_sum
        sta mul_b
        call mul16u
        lda product + 2
        clc
        adc threshold
        sta threshold
        bcc @start
        inc threshold + 2
@start: ldx #0
@next:  lda threshold
        sec
        sbc exps,x
        sta threshold
        bcs @on
        dec threshold + 2
        bmi @found
@on:    inx
        inx
        bra @next
@found: txa
        lsr
        rts
.endproc
