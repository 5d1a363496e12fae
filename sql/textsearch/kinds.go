package textsearch

// ParserOID is the OID of the parser that Tokens is.
const ParserOID = 3722

// KindInfo is how a kind of tokens is called.
type KindInfo struct {
	Kind               Kind
	Alias, Description string
}

// Kinds lists the kinds of tokens by number.
var Kinds = []KindInfo{
	{ASCIIWord, "asciiword", "Word, all ASCII"},
	{Word, "word", "Word, all letters"},
	{NumWord, "numword", "Word, letters and digits"},
	{Email, "email", "Email address"},
	{URL, "url", "URL"},
	{Host, "host", "Host"},
	{Scientific, "sfloat", "Scientific notation"},
	{Version, "version", "Version number"},
	{NumPart, "hword_numpart", "Hyphenated word part, letters and digits"},
	{Part, "hword_part", "Hyphenated word part, all letters"},
	{ASCIIPart, "hword_asciipart", "Hyphenated word part, all ASCII"},
	{Blank, "blank", "Space symbols"},
	{Tag, "tag", "XML tag"},
	{Protocol, "protocol", "Protocol head"},
	{NumHyphenated, "numhword", "Hyphenated word, letters and digits"},
	{ASCIIHyphenated, "asciihword", "Hyphenated word, all ASCII"},
	{Hyphenated, "hword", "Hyphenated word, all letters"},
	{URLPath, "url_path", "URL path"},
	{File, "file", "File or path name"},
	{Float, "float", "Decimal notation"},
	{Int, "int", "Signed integer"},
	{Uint, "uint", "Unsigned integer"},
	{Entity, "entity", "XML entity"},
}
