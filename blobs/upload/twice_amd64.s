#include "textflag.h"

// Registers of blocks2. A0 and A1 hold the first hash as ABEF and CDGH, the
// order that the SHA extensions want; B0 and B1 the second one.
#define MSG  X0
#define A0   X1
#define A1   X2
#define B0   X3
#define B1   X4
#define M0   X5
#define M1   X6
#define M2   X7
#define M3   X8
#define SWAP X9
#define TMP  X10

// LOAD reads 16 bytes of the block as big-endian words.
#define LOAD(off, m) \
	MOVOU off(SI), m; \
	PSHUFB SWAP, m

// FIRST and SECOND are two rounds each of both hashes, on the same words: while
// one waits for its last result, the other goes on.
#define FIRST(k, m) \
	MOVOU k(AX), MSG; \
	PADDD m, MSG; \
	SHA256RNDS2 MSG, A0, A1; \
	SHA256RNDS2 MSG, B0, B1

#define SECOND \
	PSHUFD $0x0e, MSG, MSG; \
	SHA256RNDS2 MSG, A1, A0; \
	SHA256RNDS2 MSG, B1, B0

// NEXT finishes the words that follow m, of which before stands in front.
#define NEXT(before, m, next) \
	MOVOU m, TMP; \
	PALIGNR $4, before, TMP; \
	PADDD TMP, next; \
	SHA256MSG2 m, next

// GROUP is four rounds on the words m, and the schedule of those to come.
#define GROUP(k, before, m, next) \
	FIRST(k, m); \
	NEXT(before, m, next); \
	SECOND; \
	SHA256MSG1 m, before

// ORDER turns eight words of memory into the order of the registers, UNORDER
// back.
#define ORDER(at, s0, s1) \
	MOVOU 0(at), s0; \
	MOVOU 16(at), s1; \
	PSHUFD $0xb1, s0, s0; \
	PSHUFD $0x1b, s1, s1; \
	MOVOU s0, TMP; \
	PALIGNR $8, s1, s0; \
	PBLENDW $0xf0, TMP, s1

#define UNORDER(at, s0, s1) \
	PSHUFD $0x1b, s0, TMP; \
	PSHUFD $0xb1, s1, s1; \
	MOVOU TMP, s0; \
	PBLENDW $0xf0, s1, s0; \
	PALIGNR $8, TMP, s1; \
	MOVOU s0, 0(at); \
	MOVOU s1, 16(at)

// func blocks2(a, b *[8]uint32, k *[64]uint32, p *byte, n int)
TEXT ·blocks2(SB), NOSPLIT, $0-40
	MOVQ a+0(FP), DI
	MOVQ b+8(FP), DX
	MOVQ k+16(FP), AX
	MOVQ p+24(FP), SI
	MOVQ n+32(FP), CX
	MOVOU swap<>(SB), SWAP
	ORDER(DI, A0, A1)
	ORDER(DX, B0, B1)
	TESTQ CX, CX
	JZ done

block:
	MOVOU A0, X11
	MOVOU A1, X12
	MOVOU B0, X13
	MOVOU B1, X14

	LOAD(0, M0)
	FIRST(0, M0)
	SECOND

	LOAD(16, M1)
	FIRST(16, M1)
	SECOND
	SHA256MSG1 M1, M0

	LOAD(32, M2)
	FIRST(32, M2)
	SECOND
	SHA256MSG1 M2, M1

	LOAD(48, M3)
	GROUP(48, M2, M3, M0)
	GROUP(64, M3, M0, M1)
	GROUP(80, M0, M1, M2)
	GROUP(96, M1, M2, M3)
	GROUP(112, M2, M3, M0)
	GROUP(128, M3, M0, M1)
	GROUP(144, M0, M1, M2)
	GROUP(160, M1, M2, M3)
	GROUP(176, M2, M3, M0)
	GROUP(192, M3, M0, M1)

	FIRST(208, M1)
	NEXT(M0, M1, M2)
	SECOND

	FIRST(224, M2)
	NEXT(M1, M2, M3)
	SECOND

	FIRST(240, M3)
	SECOND

	PADDD X11, A0
	PADDD X12, A1
	PADDD X13, B0
	PADDD X14, B1
	ADDQ $64, SI
	DECQ CX
	JNZ block

done:
	UNORDER(DI, A0, A1)
	UNORDER(DX, B0, B1)
	RET

// func cpuid7() (ebx uint32)
TEXT ·cpuid7(SB), NOSPLIT, $0-4
	MOVL $0, AX
	CPUID
	XORL DX, DX
	CMPL AX, $7
	JB old
	MOVL $7, AX
	XORL CX, CX
	CPUID
	MOVL BX, DX

old:
	MOVL DX, ebx+0(FP)
	RET

DATA swap<>+0(SB)/8, $0x0405060700010203
DATA swap<>+8(SB)/8, $0x0c0d0e0f08090a0b
GLOBL swap<>(SB), RODATA|NOPTR, $16
