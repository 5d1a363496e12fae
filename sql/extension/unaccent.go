package extension

import (
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"

	"github.com/meridian-db/meridian/sql/builtin"
	"github.com/meridian-db/meridian/sql/types"
)

// unaccented are characters that do not decompose into a letter and its accents, each with what is written for it.
var unaccented = pairs(`¡ ! © (C) « << ® (R) ± +/- » >> ¼ 1/4 ½ 1/2 ¾ 3/4 ¿ ? Æ AE Ð D × * Ø O Þ TH ß ss æ ae ð d ÷ / ø o þ th Đ D đ d
Ħ H ħ h ı i ĸ q Ŀ L ŀ l Ł L ł l ŉ 'n Ŋ N ŋ n Œ OE œ oe Ŧ T ŧ t ƀ b Ɓ B Ƃ B ƃ b Ƈ C ƈ c Ɖ D Ɗ D Ƌ D ƌ d Ɛ E Ƒ F ƒ f Ɠ G ƕ hv Ɩ I Ɨ I
Ƙ K ƙ k ƚ l Ɲ N ƞ n Ƣ OI ƣ oi Ƥ P ƥ p ƫ t Ƭ T ƭ t Ʈ T Ʋ V Ƴ Y ƴ y Ƶ Z ƶ z Ǥ G ǥ g ȡ d Ȥ Z ȥ z ȴ l ȵ n ȶ t ȷ j ȸ db ȹ qp Ⱥ A Ȼ C ȼ c Ƚ L
Ⱦ T ȿ s ɀ z Ƀ B Ʉ U Ɇ E ɇ e Ɉ J ɉ j Ɍ R ɍ r Ɏ Y ɏ y ẞ SS ‐ - ‑ - ‒ - – - — - ― - ‘ ' ’ ' ‚ , ‛ ' “ " ” " „ ,, ‟ " ′ ' ″ " ‹ < › > ⁄ / − -`)

func pairs(list string) map[rune]string {
	m := map[rune]string{}
	words := strings.Fields(list)
	for i := 0; i < len(words); i += 2 {
		m[[]rune(words[i])[0]] = words[i+1]
	}
	return m
}

func init() {
	eval("unaccent", func(_ *builtin.Ctx, a []types.Datum) (types.Datum, error) {
		return types.NewString(unaccent(a[0].Str())), nil
	})
}

// unaccent writes the letters of the scripts of Europe without their accents.
func unaccent(s string) string {
	var out strings.Builder
	for _, r := range s {
		switch plain, ok := unaccented[r]; {
		case r < 0x80:
			out.WriteByte(byte(r))
		case ok:
			out.WriteString(plain)
		default:
			out.WriteString(base(string(r)))
		}
	}
	return out.String()
}

// base is a character without the marks on it, if it is a letter with marks or a form of such letters.
func base(char string) string {
	var out strings.Builder
	for i, r := range norm.NFKD.String(char) {
		switch {
		case i == 0 && r > 0x7f && !unicode.In(r, unicode.Latin, unicode.Greek, unicode.Cyrillic):
			return char
		case !unicode.Is(unicode.Mn, r):
			out.WriteRune(r)
		}
	}
	return out.String()
}
