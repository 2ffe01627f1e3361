/**
 * The words from which corpora and queries are made, by language. Each list holds families of near words (typos, prefixes,
 * words that join or split), since that is where engines differ.
 */

export type Language =
  | 'english'
  | 'french'
  | 'german'
  | 'spanish'
  | 'swedish'
  | 'turkish'
  | 'vietnamese'
  | 'russian'
  | 'greek'
  | 'hebrew'
  | 'arabic'
  | 'chinese'
  | 'thai'

const list = (text: string): readonly string[] => text.trim().split(/\s+/)

export const words: Readonly<Record<Language, readonly string[]>> = {
  english: list(`
    prince princess princes print prints printer price priced prize pride proud bride bridge bridges brides book books
    booking bookshop bookstore cook cooks cooking look looking sun sunny flower flowers sunflower sunflowers flour floor
    wild wilds wildlife world worlds word words sword swords hero heroes heron story stories storey history historical
    little kettle battle bottle bottles cattle castle castles planet planets plant plants planning plane great greater
    grate grey green greens garden gardens gardener guardian guard night nights knight knights light lights lightning
    fight flight fright right rights river rivers driver drive drives drove dove love lover lovely glove gloves clover
    house houses horse horses hoarse mouse mouth month months moth mother mothers brother brothers other another weather
    whether feather feathers father leather letter letters better butter bitter battery star stars start starts starting
    stare stairs chair chairs hair fair fairy fairies ferry berry berries cherry cheery merry marry carry curry hurry
    black block blocks clock clocks cloak lock locks rock rocks sock socks shock stock white while whale whales wheel
    wheels steel steal stealing steam stream streams dream dreams dreamer cream red read reader reading road roads blue
    blues true truth trust rust dust just water waters waiter winter winters wine wind windy window windows widow shadow
    shadows meadow ocean oceans mountain mountains fountain maintain train trains rain rains rainbow rainbows bow brain
    chain island islands land lands hand hands handle sand sandy candle candles king kings kingdom queen queens quick
    quickly quiet quite the of and a in to is was with for on at from into over under between secret secrets sacred
    magic magical magician music musical musician art artist artistic party part parts partner port ports sport sports
    report airport passport ship ships shop shops shape shapes sheep sleep sleeping steep deep deeper depth death dragon
    dragons wagon wagons forest forests forever never ever every fever seven eleven heaven even evening event events
    adventure adventures adventurer venture future nature natural picture pictures structure international
    internationally nationality extraordinary ordinary communication communications responsibility understanding
    dictionary dictionaries`),
  french: list(`
    le la les un une des de du et à dans pour avec petit petite petits grand grande grands prince princesse princes livre
    livres livrer lire libre liberté été étés étoile étoiles étage étang cœur cœurs chœur sœur sœurs œuf œuvre œuvres
    garçon garçons leçon leçons façon français française château châteaux gâteau gâteaux bateau bateaux forêt forêts
    tempête fête fêtes tête bête bêtes mer mère mères père pères frère frères maison maisons raison saison saisons poisson
    poissons boisson rouge rougir noir noire noirs blanc blanche naïf naïve maïs Noël aujourd'hui l'école l'été l'amour
    amour amours jour jours journal journée voyage voyages voyageur village villages visage image images`),
  german: list(`
    der die das und ein eine mit von zu im Haus Häuser Haustür Maus Mäuse Baum Bäume Traum Träume Raum Räume Straße Straßen
    Strasse Fuß Füße Fußball Handball Hand Hände groß größer Größe klein kleiner kleine Stadt Städte Staat Staaten schön
    schöner schon Schiff Schiffe Schifffahrt Kapitän Wasser Wasserfall Fall Fälle Regen Regenbogen Bogen Buch Bücher
    Buchhandlung Handlung Apfel Äpfel Apfelbaum König Könige Königin Königreich reich Mädchen Märchen Wald Wälder Garten
    Gärten Kindergarten Kinder Kind Übung Übungen über grün grüne blau rot Schule Schüler Schülerin Lehrer Mensch Menschen`),
  spanish: list(`
    el la los las un una y de del en con para niño niña niños año años mañana montaña montañas canción canciones corazón
    corazones camión ratón jardín jardines árbol árboles pájaro pájaros rápido rápida música músico público plaza playa
    playas libro libros libre libertad ciudad ciudades verdad amistad amigo amigos camino caminos casa casas cosa cosas
    rojo roja ojo ojos hoja hojas luna cuna cuento cuentos puente fuente noche coche leche pingüino vergüenza`),
  swedish: list(`
    en ett och att är på för över med från ål å år åren hår här där när öl öga ögon öra bröd bröder söder sjö sjön skön
    värld världen värma vägen väg vägar väder läsa läser lärare båt båten gård gården gårdar kärlek människa människor
    fågel fåglar flicka pojke skog skogen berg berget hus huset hund hundar katt katten`),
  turkish: list(`
    bir ve bu için ile ışık ışıklar ısı ılık kız kızlar kış kışın kuş kuşlar güneş gün günler göz gözler yıldız yıldızlar
    çiçek çiçekler ağaç ağaçlar dağ dağlar deniz şehir şehirler İstanbul İzmir kitap kitaplar küçük büyük sarı kırmızı
    yağmur çocuk çocuklar öğrenci öğretmen`),
  vietnamese: list(`
    một hai ba và của là trong với người nước đường đất đèn trời biển sông núi nhà cửa sách học sinh trường tiếng Việt Nam
    Hà Nội Đà Nẵng Huế phở bánh mì cà phê mưa nắng xuân hạ thu đông yêu thương hoa sen trăng sao`),
  russian: list(`
    и в на с по из это для книга книги книг книжный мир мира миры море моря морской день дни ночь ночи ночной город города
    городок дом дома домой домик лес леса лесной река реки река́ берег берега война войны мать матери брат братья сестра
    ёлка елка ёж её белый белая чёрный черный красный красная краска краски сказка сказки принц принцы принцесса король
    королева звезда звёзды свет светлый цвет цветы снег снежный`),
  greek: list(`
    και το η ο του της με στο βιβλίο βιβλία κόσμος κόσμου κόσμοι θάλασσα θάλασσες ήλιος ήλιου σπίτι σπίτια δρόμος δρόμου
    δρόμοι πόλη πόλεις μικρός μικρή μεγάλος μεγάλη άνθρωπος ανθρώπου άνθρωποι φως νύχτα νύχτες ημέρα λόγος λόγου λόγοι
    πρίγκιπας βασιλιάς`),
  hebrew: list(`
    של על את הוא היא ספר ספרים הספר שלום עולם העולם בית הבית בתים ילד ילדה ילדים מלך מלכה מלכים נסיך קטן קטנה גדול גדולה
    שָׁלוֹם יום ימים לילה לילות ים שמש שמים ארץ הארץ עץ עצים פרח פרחים אור דרך דרכים`),
  arabic: list(`
    في من على إلى هذا هذه كتاب الكتاب كتب الكتب مدرسة المدرسة مدينة المدينة مدن بيت البيت بيوت ولد بنت أولاد أمير الأمير
    أميرة ملك الملك ملكة صغير صغيرة كبير كبيرة شمس الشمس قمر القمر بحر البحر نهر النهر جبل الجبل نور النور ليل الليل يوم
    اليوم أيام حُبّ الحب كـتـاب`),
  chinese: list(`
    北京 上海 中国 中文 语言 学习 学生 大学 老师 今天 明天 天气 城市 世界 小王子 王子 公主 国王 故事 历史 音乐 电影 图书馆 图书
    火车 汽车 飞机 手机 电脑 朋友 家庭 孩子 父亲 母亲 山水 河流 大海 太阳 月亮 星星 春天 夏天 花园 苹果 红色 白色 我们 他们 的 了
    在 是 和 喜欢 看 读 去 来 很 大 小`),
  thai: list(`
    ภาษา ไทย ประเทศ เมือง กรุงเทพ โรงเรียน นักเรียน ครู หนังสือ อ่าน เขียน บ้าน แม่ พ่อ เด็ก น้ำ ทะเล ภูเขา แม่น้ำ ดวงจันทร์ ดาว
    พระอาทิตย์ วันนี้ พรุ่งนี้ อากาศ อาหาร กิน ข้าว ผลไม้ แดง ขาว ใหญ่ เล็ก รัก เพื่อน เจ้าชาย เจ้าหญิง`),
}

/** Languages that write words without spaces between them. */
export const unspaced: ReadonlySet<Language> = new Set<Language>(['chinese', 'thai'])

/** Ends and middles of sentences, by which hard and soft separators get into texts. */
export const separators = [
  ' ',
  ' ',
  ' ',
  ' ',
  ' ',
  ' ',
  ', ',
  '. ',
  '-',
  ' – ',
  "'",
  '/',
  ' (',
  ') ',
  ': ',
  '; ',
  '! ',
  '? ',
  '  ',
  ' & ',
  '_',
  '@',
  '#',
  '…',
] as const
